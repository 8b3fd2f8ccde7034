use super::*;
use crate::spectral::filter;
use crate::torch::{Generator, autograd};

fn random(shape: &[i64], dtype: DType) -> Tensor {
    crate::torch::start();
    let generator = Generator::new(3, Device::Cpu).unwrap();
    Tensor::randn(shape, dtype, Device::Cpu, Some(&generator)).unwrap()
}

fn all() -> Vec<Basis> {
    vec![
        Basis::dct(),
        Basis::fft(),
        Basis::haar(Haar { levels: 1 }).unwrap(),
        Basis::haar(Haar { levels: 2 }).unwrap(),
        Basis::laplacian(Laplacian { levels: 1, sigma: 0.7 }).unwrap(),
        Basis::laplacian(Laplacian::default()).unwrap(),
    ]
}

fn close(a: &Tensor, b: &Tensor, within: f64) -> bool {
    a.shape() == b.shape() && a.allclose(b, within, within).unwrap()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_f64().unwrap()
}

#[test]
fn coefficients_by_hand() {
    crate::torch::start();
    let x = Tensor::from_f64(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2]).unwrap();
    let near = |a: &Tensor, b: &[f64]| values(a).iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
    // On 2 x 2 planes the cosine and Haar transforms are sums and differences.
    assert!(near(&Basis::dct().forward(&x).unwrap(), &[5.0, -1.0, -2.0, 0.0]));
    assert!(near(&Basis::haar(Haar::default()).unwrap().forward(&x).unwrap(), &[5.0, -1.0, -2.0, 0.0]));
    assert!(near(&Basis::fft().forward(&x).unwrap().real().unwrap(), &[5.0, -1.0, -2.0, 0.0]));
    // A very wide blur leaves the mean in the last band.
    let wide = Basis::laplacian(Laplacian { levels: 1, sigma: 60.0 }).unwrap().forward(&x).unwrap();
    assert!((values(&wide.select(0, 1).unwrap())[0] - 2.5).abs() < 0.02);
    // Cosine 1 at four positions: sqrt(1 / 2) cos(pi (2 i + 1) / 8).
    let line = Tensor::from_f64(&[1.0, 0.0, 0.0, 0.0], &[1, 1, 1, 4]).unwrap();
    let expected = 0.5f64.sqrt() * (std::f64::consts::PI / 8.0).cos();
    assert!((values(&Basis::dct().forward(&line).unwrap())[1] - expected).abs() < 1e-12);
}

#[test]
fn the_inverse_takes_back_on_grids_of_any_shape() {
    for basis in all() {
        let sizes: &[(i64, i64)] = match basis.kind {
            Kind::Haar(_) => &[(4, 8), (12, 4)],
            _ => &[(4, 8), (5, 7), (1, 6), (6, 1), (9, 4)],
        };
        for (height, width) in sizes {
            let x = random(&[2, 3, *height, *width], DType::Float64);
            let c = basis.forward(&x).unwrap();
            assert!(close(&basis.inverse(&c).unwrap(), &x, 1e-10), "{basis} {height} {width}");
            let r = basis.radius_of(&x).unwrap();
            let spread = r.expand(&c.shape()).unwrap();
            assert_eq!(spread.shape(), c.shape(), "{basis}: radii belong to coefficients");
            let largest = values(&r).into_iter().fold(0.0, f64::max);
            assert!(largest <= std::f64::consts::SQRT_2 + 1e-12, "{basis}: {largest}");
            // The first frequency, or the last band, belongs to the mean.
            assert!(values(&r).contains(&0.0), "{basis}");
            let same = basis.scale(&x, None, |r| r.mul_scalar(0.0)?.add_scalar(1.0)).unwrap();
            assert!(close(&same, &x, 1e-10), "{basis} {height} {width}");
        }
    }
}

#[test]
fn orthonormal_transforms_keep_the_sum_of_squares() {
    let x = random(&[2, 3, 8, 12], DType::Float64);
    let squares = values(&x.square().unwrap().sum(&[], false).unwrap())[0];
    for basis in all().into_iter().filter(|b| !matches!(b.kind, Kind::Laplacian(_))) {
        let c = basis.forward(&x).unwrap();
        let c = if c.dtype().is_complex() { c.view_as_real().unwrap() } else { c };
        let found = values(&c.square().unwrap().sum(&[], false).unwrap())[0];
        assert!((found - squares).abs() < 1e-9 * squares, "{basis}: {found} {squares}");
    }
}

#[test]
fn gradients_are_those_of_the_transposed_map() {
    // With real gains an orthonormal transform is a symmetric map, so the gradient of <w, scale(x)> is scale(w).
    let x = random(&[2, 2, 8, 4], DType::Float64).set_requires_grad(true).unwrap();
    let w = random(&[2, 2, 4, 8], DType::Float64).transpose(2, 3).unwrap().contiguous().unwrap();
    let gain = |r: &Tensor| r.mul_scalar(-1.5)?.exp();
    for basis in all() {
        let y = basis.scale(&x, None, gain).unwrap();
        let gradient =
            autograd::grad(&[y], std::slice::from_ref(&x), Some(std::slice::from_ref(&w)), false, false);
        let gradient = gradient.unwrap().remove(0).unwrap();
        match basis.kind {
            // Replicated edges count more than once, so the map is not symmetric.
            Kind::Laplacian(_) => assert!(values(&gradient).iter().all(|g| g.is_finite())),
            _ => assert!(close(&gradient, &basis.scale(&w, None, gain).unwrap(), 1e-10), "{basis}"),
        }
    }
    // Gains are trainable as well.
    let slope = Tensor::from_f64(&[0.7], &[1]).unwrap().set_requires_grad(true).unwrap();
    let y = Basis::fft().scale(&x.detach().unwrap(), None, |r| r.mul(&slope)).unwrap();
    let y = y.square().unwrap().sum(&[], false).unwrap();
    let gradient = autograd::grad(&[y], std::slice::from_ref(&slope), None, false, false).unwrap().remove(0);
    assert!(values(&gradient.unwrap())[0] > 0.0);
}

#[test]
fn gains_of_waves_cover_the_whole_plane() {
    for (height, width) in [(4, 6), (5, 7), (6, 5)] {
        let x = random(&[2, 3, height, width], DType::Float64);
        for shape in [&[height, width][..], &[height, 1], &[width], &[2, 1, height, width], &[]] {
            // These differ between opposite waves.
            let gains = random(shape, DType::Float64);
            let scaled = Basis::fft().scale(&x, None, |_| Ok(gains.clone())).unwrap();
            let expected =
                Basis::fft().inverse(&Basis::fft().forward(&x).unwrap().mul(&gains).unwrap()).unwrap();
            assert!(close(&scaled, &expected, 1e-10), "{height} x {width}, {shape:?}");
        }
    }
    let x = random(&[1, 1, 4, 6], DType::Float64);
    Basis::fft()
        .scale(&x, None, |r| {
            assert_eq!(r.shape(), [4, 6]);
            Ok(r.clone())
        })
        .unwrap();
    let error = Basis::fft().scale(&x, None, |r| r.narrow(-1, 0, 4)).unwrap_err().message();
    assert!(error.ends_with("shape [.., 4, 6], found shape [4, 4]"), "{error}");
}

#[test]
fn filters_of_frequencies_are_gains_in_these_bases() {
    let images = random(&[2, 5, 6, 6], DType::Float64);
    let tokens = images.reshape(&[2, 5, 36]).unwrap().transpose(1, 2).unwrap();
    let below = |cutoff: f64| move |r: &Tensor| r.le_scalar(cutoff);
    for (filter, basis) in [
        (filter::dct(filter::Dct { cutoff: 0.6 }).unwrap(), Basis::dct()),
        (filter::ideal(filter::Ideal { cutoff: 0.6 }).unwrap(), Basis::fft()),
    ] {
        let expected = filter.apply(&tokens, 6).unwrap();
        assert!(close(&basis.scale(&tokens, None, below(0.6)).unwrap(), &expected, 1e-10), "{filter}");
        assert!(close(
            &filter.apply_to_images(&images).unwrap(),
            &basis.scale(&images, None, below(0.6)).unwrap(),
            1e-10
        ));
    }
    let smooth = filter::Response::new(|r| Ok((-r * r).exp())).and_then(filter::Filter::new).unwrap();
    let scaled = Basis::fft().scale(&tokens, None, |r| r.square()?.neg()?.exp()).unwrap();
    assert!(close(&scaled, &smooth.apply(&tokens, 6).unwrap(), 1e-10));
    // The coarse band of the Haar transform is the mean of blocks.
    let haar = Basis::haar(Haar { levels: 1 }).unwrap();
    let means = filter::haar(filter::Haar { levels: 1 }).unwrap().apply(&tokens, 6).unwrap();
    assert!(close(&haar.scale(&tokens, None, below(0.0)).unwrap(), &means, 1e-10));
}

#[test]
fn bands_add_up_and_hold_their_frequencies() {
    for basis in all() {
        let x = random(&[2, 3, 8, 8], DType::Float32);
        let bands = basis.bands(&x, None, &[0.2, 0.5, 1.0]).unwrap();
        assert_eq!(bands.len(), 4);
        let sum = bands.iter().skip(1).try_fold(bands[0].clone(), |sum, band| sum.add(band)).unwrap();
        assert!(close(&sum, &x, 1e-5), "{basis}");
        if !matches!(basis.kind, Kind::Laplacian(_)) {
            let middle =
                basis.scale(&bands[1], None, |r| r.ge_scalar(0.2)?.logical_and(&r.lt_scalar(0.5)?)).unwrap();
            assert!(close(&middle, &bands[1], 1e-5), "{basis}");
        }
    }
    let error = Basis::dct().bands(&random(&[1, 1, 4, 4], DType::Float32), None, &[0.5, 0.2]).unwrap_err();
    assert!(error.message().contains("ascend"), "{error}");
    assert_eq!(Basis::dct().bands(&random(&[1, 1, 4, 4], DType::Float32), None, &[]).unwrap().len(), 1);
}

#[test]
fn tokens_lie_on_square_grids_and_on_others() {
    let images = random(&[2, 5, 4, 6], DType::Float32);
    let tokens = images.reshape(&[2, 5, 24]).unwrap().transpose(1, 2).unwrap();
    let gain = |r: &Tensor| r.mul_scalar(-1.0)?.exp();
    let expected = Basis::fft().scale(&images, None, gain).unwrap();
    let found = Basis::fft().scale(&tokens, Some((4, 6)), gain).unwrap();
    assert!(close(&found, &expected.reshape(&[2, 5, 24]).unwrap().transpose(1, 2).unwrap(), 1e-6));
    let wrong = Basis::fft().scale(&tokens, None, gain).unwrap_err();
    assert!(wrong.message().contains("24 tokens form no square grid"), "{wrong}");
    let wrong = Basis::fft().scale(&tokens, Some((4, 5)), gain).unwrap_err();
    assert!(wrong.message().contains("4 x 5"), "{wrong}");
    // Half precision is computed in float32 and returned in the input's dtype.
    let half = images.to_dtype(DType::BFloat16).unwrap();
    let found = Basis::dct().scale(&half, None, gain).unwrap();
    assert_eq!(found.dtype(), DType::BFloat16);
    let exact = Basis::dct().scale(&half.to_dtype(DType::Float32).unwrap(), None, gain).unwrap();
    assert!(found.equal(&exact.to_dtype(DType::BFloat16).unwrap()).unwrap());
}

#[test]
fn a_gain_for_each_image() {
    let x = random(&[2, 3, 8, 8], DType::Float32);
    let t = Tensor::from_f32(&[0.0, 1.0], &[2, 1, 1, 1]).unwrap();
    for basis in all() {
        // The first image passes unchanged, and the second loses its fine detail.
        let y = basis.scale(&x, None, |r| r.mul(&t)?.mul_scalar(-50.0)?.exp()).unwrap();
        assert!(close(&y.narrow(0, 0, 1).unwrap(), &x.narrow(0, 0, 1).unwrap(), 1e-5), "{basis}");
        assert!(!close(&y.narrow(0, 1, 1).unwrap(), &x.narrow(0, 1, 1).unwrap(), 1e-1), "{basis}");
    }
}

#[test]
fn what_cannot_be_is_said() {
    let x = random(&[1, 1, 6, 4], DType::Float32);
    let said = |result: Result<Tensor>| result.unwrap_err().message();
    let haar = Basis::haar(Haar { levels: 2 }).unwrap();
    assert!(said(haar.forward(&x)).contains("divisible by 4, found 6 x 4"));
    assert!(said(Basis::fft().forward(&x.select(0, 0).unwrap())).contains("expected images [B, C, H, W]"));
    assert!(said(Basis::fft().forward(&x.to_dtype(DType::Int64).unwrap())).contains("expected real numbers"));
    let complex = |r: &Tensor| r.to_dtype(DType::Complex64);
    assert!(said(Basis::fft().scale(&x, None, complex)).contains("gains must be real"));
    let many = |r: &Tensor| r.unsqueeze(0)?.unsqueeze(0)?.expand(&[7, 1, 6, 4]);
    assert!(said(Basis::fft().scale(&x, None, many)).contains("broadcast"));
    assert!(said(Basis::laplacian(Laplacian::default()).unwrap().inverse(&x)).contains("5 dimensions"));
    assert!(Basis::haar(Haar { levels: 0 }).is_err());
}

#[test]
fn a_basis_is_stored_and_made_again() {
    for basis in all() {
        assert_eq!(Basis::from_data(&basis.to_data()).unwrap(), basis);
    }
    assert_eq!(Basis::haar(Haar { levels: 2 }).unwrap().to_string(), "basis::haar(#{ levels: 2 })");
    assert_eq!(Basis::dct().to_string(), "basis::dct()");
    let other = kind::stored("dc", Map::new());
    let error = Basis::from_data(&other).unwrap_err();
    assert!(error.message().contains("no basis called \"dc\""), "{error}");
}
