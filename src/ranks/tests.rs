//! Ranks as threads of one process, connected by loopback.

use std::sync::Mutex;

use super::*;
use crate::torch::Generator;

/// A rank with the notices that it received.
struct Seen {
    ranks: Ranks,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl Seen {
    /// Waits for the first notice.
    fn notice(&self) -> Notice {
        let start = Instant::now();
        loop {
            if let Some(notice) = self.notices.lock().unwrap().first() {
                return notice.clone();
            }
            assert!(start.elapsed() < Duration::from_secs(60), "no notice within a minute");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn on_ranks_within<T: Send>(size: usize, timeout: Duration, body: impl Fn(&Seen) -> T + Sync) -> Vec<T> {
    crate::torch::start();
    let store = Store::open("127.0.0.1", 0, true, "", CONNECT).unwrap();
    let port = store.port();
    let one = |rank: usize| {
        let variables = |name: &str| {
            Some(match name {
                "RANK" | "LOCAL_RANK" => rank.to_string(),
                "WORLD_SIZE" | "LOCAL_WORLD_SIZE" => size.to_string(),
                "MASTER_ADDR" => "127.0.0.1".to_string(),
                "MASTER_PORT" => port.to_string(),
                "TORCHELASTIC_USE_AGENT_STORE" => "True".to_string(),
                _ => return None,
            })
        };
        let notices = Arc::new(Mutex::new(Vec::new()));
        let receiver = Arc::clone(&notices);
        let notify = Arc::new(move |notice| receiver.lock().unwrap().push(notice));
        let launch = Launch::from(variables).unwrap().unwrap();
        body(&Seen { ranks: Ranks::connect(launch, timeout, notify).unwrap(), notices })
    };
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..size).map(|rank| scope.spawn(move || one(rank))).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Runs `body` on ranks that are threads, and returns their results in order.
pub(crate) fn on_ranks<T: Send>(size: usize, body: impl Fn(&Ranks) -> T + Sync) -> Vec<T> {
    on_ranks_within(size, TIMEOUT, |seen| body(&seen.ranks))
}

fn drawn(rank: usize, shape: &[i64], dtype: DType) -> Tensor {
    let generator = Generator::new(rank as u64, Device::Cpu).unwrap();
    Tensor::randn(shape, DType::Float32, Device::Cpu, Some(&generator)).unwrap().to_dtype(dtype).unwrap()
}

#[test]
fn sums_are_those_of_the_ranks_in_order() {
    for size in [2, 3, 4] {
        let shapes: [&[i64]; 4] = [&[7, 5], &[], &[0], &[1000]];
        let tensors = |rank: usize| -> Vec<Tensor> {
            let floats = shapes.iter().map(|shape| drawn(rank, shape, DType::Float32));
            let wide = drawn(rank, &[3], DType::Float64);
            let counts = Tensor::from_i64(&[rank as i64, 1 << 40], &[2]).unwrap();
            floats.chain([wide, counts]).collect()
        };
        let expected: Vec<Vec<u8>> = (1..size)
            .fold(tensors(0), |sum, rank| {
                sum.iter().zip(tensors(rank)).map(|(a, b)| a.add(&b).unwrap()).collect()
            })
            .iter()
            .map(|t| t.to_bytes().unwrap())
            .collect();
        let found = on_ranks(size, |ranks| {
            let own = tensors(ranks.rank());
            ranks.sum(&own).unwrap();
            own.iter().map(|t| t.to_bytes().unwrap()).collect::<Vec<_>>()
        });
        found.iter().for_each(|sums| assert_eq!(sums, &expected, "{size} ranks"));
    }
}

#[test]
fn views_and_floats_of_16_bits_are_summed_in_place() {
    let found = on_ranks(2, |ranks| {
        let whole = drawn(ranks.rank(), &[4, 6], DType::BFloat16);
        let view = whole.transpose(0, 1).unwrap().narrow(0, 1, 2).unwrap();
        ranks.sum(std::slice::from_ref(&view)).unwrap();
        whole.to_dtype(DType::Float32).unwrap().to_f32().unwrap()
    });
    let [a, b] = [0, 1].map(|rank| drawn(rank, &[4, 6], DType::BFloat16));
    let sum = a.add(&b).unwrap().to_dtype(DType::Float32).unwrap().to_f32().unwrap();
    let own = a.to_dtype(DType::Float32).unwrap().to_f32().unwrap();
    for (i, x) in found[0].iter().enumerate() {
        let summed = (1..3).contains(&(i % 6));
        assert_eq!(*x, if summed { sum[i] } else { own[i] }, "column {}", i % 6);
    }
}

#[test]
fn many_tensors_are_summed_in_buckets_of_one_kind() {
    let of = |dtype, count| Tensor::zeros(&[count], dtype, Device::Cpu).unwrap();
    let (float, int, large) = (DType::Float32, DType::Int64, 9 << 20);
    let all = [of(float, 1), of(float, 2), of(int, 1), of(float, large), of(float, 1), of(float, 1)];
    let sizes: Vec<usize> = buckets(&all).iter().map(|bucket| bucket.len()).collect();
    assert_eq!(sizes, [2, 1, 1, 2]);
    assert!(buckets(&[]).is_empty());
}

#[test]
fn rows_of_uneven_numbers_are_gathered_in_order_and_texts_too() {
    let found = on_ranks(3, |ranks| {
        let rank = ranks.rank();
        let rows = Tensor::full(&[rank as i64, 2], rank as f64, DType::Float32, Device::Cpu).unwrap();
        let flags = Tensor::full(&[1], f64::from(rank == 1), DType::Bool, Device::Cpu).unwrap();
        let rows = ranks.gather(&rows).unwrap();
        let flags = ranks.gather(&flags).unwrap();
        let kept = Tensor::full(&[2, 2], rank as f64, DType::Float32, Device::Cpu).unwrap();
        ranks.broadcast(&kept.transpose(0, 1).unwrap(), 2).unwrap();
        (
            rows.to_f32().unwrap(),
            (flags.dtype(), flags.to_dtype(DType::Int64).unwrap().to_i64().unwrap()),
            kept.to_f32().unwrap(),
            ranks.gather_texts(&"ä".repeat(rank)).unwrap(),
            ranks.broadcast_text(&format!("of {rank}")).unwrap(),
        )
    });
    for (rows, flags, kept, texts, text) in found {
        assert_eq!(rows, [1.0, 1.0, 2.0, 2.0, 2.0, 2.0]);
        assert_eq!(flags, (DType::Bool, vec![0, 1, 0]));
        assert_eq!(kept, [2.0; 4]);
        assert_eq!(texts, ["", "ä", "ää"]);
        assert_eq!(text, "of 0");
    }
}

#[test]
fn a_failure_of_one_rank_is_one_of_all_and_differences_are_named() {
    let found = on_ranks(2, |ranks| {
        let own = match ranks.rank() {
            1 => Err(Error::argument("no luck").hint("try again")),
            _ => Ok(()),
        };
        ranks.agree(Ok(())).unwrap();
        let agreed = ranks.agree(own).unwrap_err();
        assert!(!ranks.any(false).unwrap() && ranks.any(ranks.rank() == 1).unwrap());
        let facts = |lr: &str| [("`steps`", "3".to_string()), ("`lr`", lr.to_string())];
        ranks.same(&facts("0.1")).unwrap();
        let differ = ranks.same(&facts(["0.1", "0.2"][ranks.rank()])).unwrap_err();
        (agreed, differ.message())
    });
    let (agreed, differ) = &found[0];
    assert!(agreed.message().starts_with("rank 1 on "), "{agreed}");
    assert!(agreed.message().ends_with(": no luck") && agreed.hint_text() == Some("try again"), "{agreed}");
    assert_eq!(found[1].0.message(), "no luck");
    assert!(
        differ.contains("`lr` is 0.1 on rank 0 on ") && differ.contains("and 0.2 on rank 1 on "),
        "{differ}"
    );
    assert_eq!(differ, &found[1].1);
}

#[test]
fn every_part_is_of_one_rank() {
    for (count, size) in [(8, 2), (8, 3), (2, 3), (0, 2), (100, 7)] {
        let parts: Vec<_> = (0..size).map(|rank| share(count, rank, size)).collect();
        let all: Vec<usize> = parts.iter().flat_map(|(first, own)| *first..first + own).collect();
        assert_eq!(all, (0..count).collect::<Vec<_>>());
        let sizes: Vec<usize> = parts.iter().map(|(_, own)| *own).collect();
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
    }
}

#[test]
fn a_signal_reaches_all_ranks() {
    let found = on_ranks_within(3, TIMEOUT, |seen| {
        // Rank 1 leaves after its signal, which must not interrupt ranks that are still connecting.
        seen.ranks.barrier().unwrap();
        if seen.ranks.rank() == 1 {
            seen.ranks.signal(15);
            Notice::Signal(15)
        } else {
            seen.notice()
        }
    });
    assert_eq!(found, vec![Notice::Signal(15); 3]);
}

#[test]
fn of_ranks_that_fail_the_lowest_shows_it_and_the_others_end_with_its_code() {
    let found = on_ranks_within(4, TIMEOUT, |seen| match seen.ranks.rank() {
        rank @ (1 | 2) => (seen.ranks.fail(3, &format!("rank {rank}")), None),
        _ => (false, Some(seen.notice())),
    });
    let end = Some(Notice::End(3, None));
    assert_eq!(found, [(false, end.clone()), (true, None), (false, None), (false, end)]);
}

#[test]
fn a_rank_that_hangs_is_named_by_rank_0() {
    let found = on_ranks_within(3, Duration::from_secs(1), |seen| match seen.ranks.rank() {
        1 => (seen.notice(), None),
        _ => {
            let error = seen.ranks.barrier().unwrap_err();
            (seen.notice(), Some(error.kind()))
        }
    });
    let Notice::End(code, Some(message)) = &found[0].0 else { panic!("{:?}", found[0]) };
    assert_eq!(*code, RESTART);
    assert!(
        message.starts_with("rank 1 on ") && message.ends_with("hangs: the other ranks have waited 1 s"),
        "{message}"
    );
    assert_eq!(found[1], (Notice::End(RESTART, None), None));
    assert_eq!(found[2], (Notice::End(RESTART, None), Some(Kind::Interrupted)));
    assert_eq!(found[0].1, Some(Kind::Interrupted));
}

#[test]
fn a_second_signal_ends_a_wait_and_an_interrupt_of_one_rank_is_one_of_all() {
    let ended = std::sync::Barrier::new(2);
    let found = on_ranks_within(2, TIMEOUT, |seen| {
        let own = if seen.ranks.rank() == 1 { Err(Error::interrupted()) } else { Ok(()) };
        assert_eq!(seen.ranks.agree(own).unwrap_err().kind(), Kind::Interrupted);
        let error = (seen.ranks.rank() == 0).then(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    seen.ranks.signal(15);
                    std::thread::sleep(Duration::from_secs(3));
                    seen.ranks.signal(15);
                });
                seen.ranks.barrier().unwrap_err().kind()
            })
        });
        ended.wait();
        error
    });
    assert_eq!(found, [Some(Kind::Interrupted), None]);
}

#[test]
fn a_process_alone_is_the_only_rank() {
    let ranks = Ranks::of(&Context::default());
    assert_eq!((ranks.rank(), ranks.size(), ranks.are_several()), (0, 1, false));
    let x = Tensor::ones(&[2], DType::Float32, Device::Cpu).unwrap();
    ranks.sum(std::slice::from_ref(&x)).unwrap();
    assert_eq!(ranks.gather(&x).unwrap().to_f32().unwrap(), [1.0, 1.0]);
    assert!(ranks.fail(1, "shown") && ranks.any(true).unwrap());
    ranks.barrier().unwrap();
    ranks.leave(Duration::MAX);
}

/// In the fake a collective that is not queued waits for the other rank while it is started.
#[test]
fn an_end_is_passed_on_while_a_collective_of_gpus_cannot_be_started() {
    let folder = tempfile::tempdir().unwrap();
    let (nccl, _) = crate::torch::nccl::tests::fake(&folder);
    let id = Id::parse(&nccl.id().unwrap().text()).unwrap();
    let join = |rank| Communicator::join(Arc::clone(&nccl), id, (rank, 2), Device::Cpu).unwrap();
    let x = || Tensor::from_f32(&[1.0], &[1]).unwrap();
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(|| join(1));
        (Gpus::Connected(join(0)), second.join().unwrap())
    });
    let Gpus::Connected(own) = &first else { unreachable!() };
    let (told, hears) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| own.sum(&x()));
        std::thread::sleep(Duration::from_millis(100));
        let notify = move |notice| told.send(notice).unwrap();
        let first = &first;
        scope.spawn(move || aborting(&notify, Notice::End(3, None), Some(first)));
        let heard = hears.recv_timeout(Duration::from_secs(5));
        // The other rank comes, or this test would not end.
        second.sum(&x()).unwrap();
        assert_eq!(heard, Ok(Notice::End(3, None)));
    });
    assert!(own.check().is_err());
}
