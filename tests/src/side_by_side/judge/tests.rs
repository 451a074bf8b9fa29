//! The judge against made-up answers: what keeps to the promises, and what just misses each of them.

use serde_json::json;

use super::*;
use crate::side_by_side::line::Verdict;

/// Answers that keep every promise.
fn good() -> Runs {
    let mut runs = Runs::default();
    for (id, rate, mb) in [
        ("peft-bf16", 100.0, 5000.0),
        ("peft-f32", 55.0, 8000.0),
        ("cpu-bf16", 310.0, 1990.0),
        ("cpu-f32-avx512", 125.0, 2500.0),
        ("cpu-f32-avx2", 80.0, 2500.0),
        ("candle-f32", 100.0, 2500.0),
    ] {
        for drift in [0.9, 1.1] {
            runs.add(id, json!({ "tokens_per_second": rate * drift, "peak_rss_mb": mb, "gflops": rate }));
        }
    }
    for (id, mb) in [
        ("peft-bf16-checkpoint", 2000.0),
        ("cpu-bf16-selective", 1200.0),
        ("cpu-bf16-full", 890.0),
        ("cpu-bf16-q4-full", 490.0),
    ] {
        runs.add(id, json!({ "peak_rss_mb": mb }));
    }
    for (id, losses) in [
        ("peft-f32-text", [3.0, 2.0]),
        ("cpu-f32-text", [3.0005, 1.9995]),
        ("candle-f32-text", [3.0, 2.0]),
        ("peft-bf16-text", [3.0, 2.0]),
        ("peft-bf16-text-seed-1", [3.0, 2.02]),
        ("cpu-bf16-text", [3.005, 1.995]),
    ] {
        runs.add(id, json!({ "losses": losses }));
    }
    for name in ["f32", "bf16"] {
        for threads in 1..=3 {
            runs.add(&format!("cpu-{name}-threads-{threads}"), json!({ "losses": [3.0, 2.5], "params_digest": name }));
        }
    }
    runs
}

const PROMISED: [Section; 4] = [Section::Speed, Section::Memory, Section::Losses, Section::Bits];

fn judge(runs: &Runs) -> Vec<Line> {
    lines(runs, &Sizes::FULL, &PROMISED, true)
}

/// The promises that are not kept.
fn broken(runs: &Runs) -> Vec<String> {
    judge(runs).into_iter().filter(|line| !line.holds()).map(|line| line.what).collect()
}

/// Breaks exactly one promise, and the line names this.
fn check(spoil: impl FnOnce(&mut Runs), says: &str) {
    let mut runs = good();
    spoil(&mut runs);
    let broken = broken(&runs);
    assert!(broken.len() == 1 && broken[0].contains(says), "{says}: {broken:?}");
}

#[test]
fn good_answers_keep_every_promise() {
    let lines = judge(&good());
    assert!(lines.iter().all(Line::holds), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.verdict() == Verdict::Holds).count(), 12);
    let ratio = lines[0].figure.clone().expect("measured");
    assert!((ratio - 3.1).abs() < 1e-12, "the ratio of the medians: {ratio}");
}

#[test]
fn each_promise_can_be_broken() {
    let slow = |id: &'static str, rate: f64| {
        move |runs: &mut Runs| {
            (0..9).for_each(|_| runs.add(id, json!({ "tokens_per_second": rate, "gflops": rate, "peak_rss_mb": 1.0 })))
        }
    };
    check(slow("cpu-bf16", 299.5), "cpu-bf16 beside peft-bf16");
    check(slow("peft-f32", 62.4), "cpu-bf16 beside peft-f32");
    check(slow("cpu-f32-avx512", 109.0), "cpu-f32-avx512");
    check(slow("cpu-f32-avx2", 65.0), "cpu-f32-avx2");
    let large = |id: &'static str, mb: f64| {
        move |runs: &mut Runs| runs.add(id, json!({ "peak_rss_mb": mb, "tokens_per_second": 310.0, "gflops": 1.0 }))
    };
    check(large("cpu-bf16", 2001.0), "nothing recomputed");
    check(large("cpu-bf16-full", 901.0), "full recomputation");
    check(large("cpu-bf16-q4-full", 501.0), "Q4 base");
    let curve = |id: &'static str, losses: [f64; 2]| move |runs: &mut Runs| runs.add(id, json!({ "losses": losses }));
    check(curve("cpu-f32-text", [3.0, 2.0011]), "cpu-f32-text");
    check(curve("candle-f32-text", [2.9989, 2.0]), "candle-f32-text");
    check(curve("cpu-bf16-text", [3.011, 1.989]), "cpu-bf16-text");
    let bits = |digest: &'static str, last: f64| {
        move |runs: &mut Runs| runs.add("cpu-bf16-threads-3", json!({ "losses": [3.0, last], "params_digest": digest }))
    };
    check(bits("other", 2.5), "in bf16");
    check(bits("bf16", 2.500_000_1), "in bf16");
}

#[test]
fn what_was_not_measured_is_not_kept() {
    check(|runs| runs.fail("cpu-f32-avx2", "no AVX2".to_owned()), "cpu-f32-avx2");
    check(|runs| runs.fail("cpu-f32-threads-2", "killed".to_owned()), "in f32");
    // Without the second seed nobody knows the spread.
    check(|runs| runs.fail("peft-bf16-text-seed-1", "killed".to_owned()), "cpu-bf16-text");
    check(|runs| runs.add("cpu-f32-text", json!({ "losses": [3.0] })), "cpu-f32-text");
    check(|runs| runs.add("cpu-f32-text", json!({ "losses": [3.0, null] })), "cpu-f32-text");
    assert_eq!(judge(&Runs::default()).iter().filter(|line| line.holds()).count(), 6, "those without a limit");
}

#[test]
fn small_shapes_are_held_to_bits_and_f32_losses_only() {
    let lines = lines(&Runs::default(), &Sizes::QUICK, &PROMISED, false);
    assert_eq!(lines.iter().filter(|line| line.limit.is_some()).count(), 4);
}

#[test]
fn nothing_is_promised_of_shapes_and_generation() {
    let sections = [Section::Shapes, Section::Generation];
    let mut runs = Runs::default();
    runs.add("cpu-bf16-q4-generate", json!({ "prompt_tokens_per_second": 900.0, "new_tokens_per_second": 90.0 }));
    runs.add("llama-q4", json!({ "prompt_tokens_per_second": 1000.0, "new_tokens_per_second": 100.0 }));
    let lines = lines(&runs, &Sizes::FULL, &sections, true);
    assert!(lines.iter().all(Line::holds));
    assert_eq!(lines.iter().filter(|line| line.verdict() == Verdict::Reported).count(), 2);
}

#[test]
fn no_number_keeps_to_nothing() {
    assert!(!Bound::AtMost(1.0).holds(f64::NAN) && !Bound::AtLeast(1.0).holds(f64::NAN));
    assert!(!Bound::AtMost(f64::NAN).holds(0.0));
    assert!(Measure::Largest.of(&[1.0, f64::NAN, 1.0], &[1.0, 1.0, 1.0]).is_nan());
    assert_eq!(Measure::Largest.of(&[1.0, 2.0], &[1.5, 2.25]), 0.5);
    assert_eq!(Measure::Mean.of(&[1.0, 2.0], &[1.5, 2.25]), 0.375);
}
