use potluck_trainer::backend::{Backend, cpu::{CpuBackend, Precision, instructions::Instructions}};
use potluck_trainer::base::Base;
use potluck_trainer::bench::{bench_step, BenchStep};
use potluck_trainer::model::decoder::Model;
fn go<B: Backend>(b: B, base: &Base, s: &BenchStep) {
    let model = Model::load(b, base).unwrap();
    let r = bench_step(&model, s).unwrap();
    println!("{:.1} tok/s {:.3} s rss {:.0} MB losses {:?}", r.tokens_per_second, r.step_seconds, r.peak_rss_bytes.unwrap_or(0) as f64/1e6, r.losses);
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let base = Base::open(std::path::Path::new(&a[1])).unwrap();
    let threads: usize = a[3].parse().unwrap();
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let recompute = serde_json::from_str(&format!("\"{}\"", a[4])).unwrap();
    let s = BenchStep { batch: a[6].parse().unwrap(), seq: a[7].parse().unwrap(), rank: 16, steps: a[5].parse().unwrap(), recompute };
    match &a[2][..] {
        "bf16" => go(CpuBackend::best(Precision::Bf16), &base, &s),
        "f32" => go(CpuBackend::best(Precision::F32), &base, &s),
        "avx2" => go(CpuBackend::new(Instructions::Avx2, Precision::F32).unwrap(), &base, &s),
        _ => go(potluck_trainer::backend::candle::CandleBackend::<f32>::new(), &base, &s),
    }
}
