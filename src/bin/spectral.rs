//! trial
fn main() {
    spectral::torch::start();
    let e = spectral::script::engine::engine(&Default::default(), |s| println!("{s}"));
    for a in std::env::args().skip(1) {
        match e.eval::<rhai::Dynamic>(&a) {
            Ok(v) => println!("{} : {}", v, v.type_name()),
            Err(e) => println!("ERR {e:?}"),
        }
    }
}
