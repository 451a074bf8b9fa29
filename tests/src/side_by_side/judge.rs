//! Answers to lines: what ours is, what stands beside it, and whether it is what was promised.
//!
//! The promises: SmolLM2-135M, r 16 on all seven linears, 2 threads (issue "the fastest honest LoRA step").

use serde_json::Value;

use super::Section;
use super::line::{Bound, Line, Unit};
use super::plan::Sizes;
use super::runs::Runs;

/// All lines of these sections. Without `judged` speed, memory and bf16 losses are told but not held to anything.
pub fn lines(runs: &Runs, sizes: &Sizes, sections: &[Section], judged: bool) -> Vec<Line> {
    let judge = Judge { runs, sizes, judged };
    let of = |section: &Section| match section {
        Section::Speed => judge.speed(),
        Section::Memory => judge.memory(),
        Section::Losses => judge.losses(),
        Section::Bits => judge.bits(),
        Section::Shapes => judge.shapes(),
        Section::Generation => judge.generation(),
    };
    sections.iter().flat_map(of).collect()
}

struct Judge<'a> {
    runs: &'a Runs,
    sizes: &'a Sizes,
    judged: bool,
}

impl Judge<'_> {
    fn speed(&self) -> Vec<Line> {
        let [batch, seq] = self.sizes.step;
        let line = |ours: &str, theirs: &str, limit: Option<f64>, aim: Option<f64>| {
            let mut line =
                self.ratio(&format!("step {batch} x {seq}: {ours} beside {theirs}"), ours, theirs, "tokens_per_second");
            line.limit = limit.filter(|_| self.judged).map(Bound::AtLeast);
            line.aim = aim.map(Bound::AtLeast);
            line
        };
        vec![
            line("cpu-bf16", "peft-bf16", Some(3.0), Some(4.0)),
            line("cpu-bf16", "peft-f32", Some(5.0), Some(6.0)),
            line("cpu-f32-avx512", "peft-f32", Some(2.0), None),
            line("cpu-f32-avx2", "peft-f32", Some(1.2), Some(1.5)),
            line("candle-f32", "peft-f32", None, None),
            self.arithmetic("cpu-bf16"),
            self.arithmetic("cpu-f32-avx512"),
            self.arithmetic("cpu-f32-avx2"),
        ]
    }

    /// The rate of the arithmetic by formula, beside the peak where that was measured.
    fn arithmetic(&self, id: &str) -> Line {
        let figure = self.median(id, "gflops");
        let peak = self.median(id, "peak_gflops");
        Line {
            what: format!("arithmetic of {id}"),
            ours: match (&figure, &peak) {
                (Ok(figure), Ok(peak)) => format!("{:.0} % of the peak", 100.0 * figure / peak),
                _ => String::new(),
            },
            beside: peak.map_or_else(|_| String::new(), |peak| format!("peak {peak:.0} GFLOP/s")),
            figure,
            unit: Unit::Gigaflops,
            limit: None,
            aim: None,
        }
    }

    fn memory(&self) -> Vec<Line> {
        let line = |what: &str, ours: &str, theirs: Option<&str>, limit: Option<f64>| Line {
            what: format!("peak memory, {what}"),
            ours: ours.to_owned(),
            beside: theirs.map_or_else(String::new, |id| match self.largest(id, "peak_rss_mb") {
                Ok(mb) => format!("{id}: {:.2} GB", mb / 1e3),
                Err(_) => format!("{id}: not measured"),
            }),
            figure: self.largest(ours, "peak_rss_mb").map(|mb| mb / 1e3),
            unit: Unit::Gigabytes,
            limit: limit.filter(|_| self.judged).map(Bound::AtMost),
            aim: None,
        };
        vec![
            line("nothing recomputed", "cpu-bf16", Some("peft-bf16"), Some(2.0)),
            line("selective recomputation", "cpu-bf16-selective", None, None),
            line("full recomputation", "cpu-bf16-full", Some("peft-bf16-checkpoint"), Some(0.9)),
            line("Q4 base, full recomputation", "cpu-bf16-q4-full", None, Some(0.5)),
        ]
    }

    fn losses(&self) -> Vec<Line> {
        let [steps, batch, seq] = self.sizes.text;
        let line = |ours: &str, theirs: &str, how: Measure, limit: Option<Bound>| Line {
            what: format!(
                "losses of {steps} steps {batch} x {seq} of real text: {} difference of {ours} to {theirs}",
                how.name()
            ),
            ours: self.last_loss(ours),
            beside: self.last_loss(theirs),
            figure: self.difference(ours, theirs, how),
            unit: Unit::Difference,
            limit,
            aim: None,
        };
        let spread = self.difference("peft-bf16-text", "peft-bf16-text-seed-1", Measure::Mean);
        let exact = Some(Bound::AtMost(1e-3));
        let within = Bound::AtMost(spread.unwrap_or(f64::NAN));
        let bf16 = line("cpu-bf16-text", "peft-bf16-text", Measure::Mean, Some(within).filter(|_| self.judged));
        vec![
            line("cpu-f32-text", "peft-f32-text", Measure::Largest, exact),
            line("candle-f32-text", "peft-f32-text", Measure::Largest, exact),
            bf16,
            line("peft-bf16-text-seed-1", "peft-bf16-text", Measure::Mean, None),
        ]
    }

    fn bits(&self) -> Vec<Line> {
        let line = |name: &str| Line {
            what: format!("{} steps in {name}: runs on 2 and 3 threads that differ from 1 thread", self.sizes.bits),
            ours: format!("cpu-{name}-threads-1, -2, -3"),
            beside: String::new(),
            figure: self.differing(name),
            unit: Unit::Count,
            limit: Some(Bound::AtMost(0.0)),
            aim: None,
        };
        vec![line("f32"), line("bf16")]
    }

    /// How many thread counts give other losses or other factors than one thread.
    fn differing(&self, name: &str) -> Result<f64, String> {
        let answer = |threads: usize| -> Result<[&Value; 2], String> {
            let id = format!("cpu-{name}-threads-{threads}");
            let answer = self.runs.of(&id)?.last().ok_or_else(|| format!("{id}: not run"))?;
            let [losses, digest] = ["losses", "params_digest"].map(|field| &answer[field]);
            if losses.as_array().is_none_or(Vec::is_empty) || !digest.is_string() {
                return Err(format!("{id}: no losses or no digest"));
            }
            Ok([losses, digest])
        };
        let (one, two, three) = (answer(1)?, answer(2)?, answer(3)?);
        Ok([two, three].iter().filter(|other| **other != one).count() as f64)
    }

    fn shapes(&self) -> Vec<Line> {
        let (long, samples) = (self.sizes.long[1], self.sizes.uneven[1]);
        let shapes = [
            ("long", format!("one sequence of {long} tokens")),
            ("uneven", format!("{samples} short uneven samples, real tokens")),
        ];
        let line = |(shape, what): &(&str, String), dtype: &str| {
            let (ours, theirs) = (format!("cpu-{dtype}-{shape}"), format!("peft-{dtype}-{shape}"));
            self.ratio(&format!("{what}, {dtype}"), &ours, &theirs, "tokens_per_second")
        };
        shapes.iter().flat_map(|shape| ["bf16", "f32"].map(|dtype| line(shape, dtype))).collect()
    }

    fn generation(&self) -> Vec<Line> {
        let (prompt, new) = (self.sizes.prompt, self.sizes.new_tokens);
        let fields = [
            ("prompt_tokens_per_second", format!("reading a prompt of {prompt} tokens")),
            ("new_tokens_per_second", format!("generating {new} tokens greedily")),
        ];
        let line = |(field, what): &(&str, String), dtype: &str| {
            let ours = format!("cpu-{dtype}-q4-generate");
            let mut line = self.ratio(&format!("{what}, {dtype}, Q4 file, beside llama.cpp"), &ours, "llama-q4", field);
            line.aim = Some(Bound::AtLeast(1.0));
            line
        };
        fields.iter().flat_map(|field| ["bf16", "f32"].map(|dtype| line(field, dtype))).collect()
    }

    /// The medians of both, over all rounds, as a ratio.
    fn ratio(&self, what: &str, ours: &str, theirs: &str, field: &str) -> Line {
        let (a, b) = (self.median(ours, field), self.median(theirs, field));
        let rate = |id: &str, rate: &Result<f64, String>| match rate {
            Ok(rate) => format!("{rate:.0} tokens/s"),
            Err(_) => format!("{id}: not measured"),
        };
        Line {
            what: what.to_owned(),
            ours: rate(ours, &a),
            beside: rate(theirs, &b),
            figure: a.and_then(|a| Ok(a / b?)),
            unit: Unit::Times,
            limit: None,
            aim: None,
        }
    }

    fn median(&self, id: &str, field: &str) -> Result<f64, String> {
        let mut figures = self.figures(id, field)?;
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        Ok(if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 })
    }

    fn largest(&self, id: &str, field: &str) -> Result<f64, String> {
        Ok(self.figures(id, field)?.into_iter().fold(f64::NEG_INFINITY, f64::max))
    }

    /// A field of each round; at least one.
    fn figures(&self, id: &str, field: &str) -> Result<Vec<f64>, String> {
        let answers = self.runs.of(id)?;
        answers.iter().map(|answer| answer[field].as_f64().ok_or_else(|| format!("{id}: no `{field}`"))).collect()
    }

    fn loss_curve(&self, id: &str) -> Result<Vec<f64>, String> {
        let answer = self.runs.of(id)?.last().ok_or_else(|| format!("{id}: not run"))?;
        let losses = answer["losses"].as_array().ok_or_else(|| format!("{id}: no `losses`"))?;
        losses.iter().map(|loss| loss.as_f64().ok_or_else(|| format!("{id}: a loss is no number"))).collect()
    }

    fn last_loss(&self, id: &str) -> String {
        let curve = self.loss_curve(id).ok();
        curve.and_then(|curve| curve.last().map(|loss| format!("last loss {loss:.4}"))).unwrap_or_default()
    }

    fn difference(&self, a: &str, b: &str, how: Measure) -> Result<f64, String> {
        let (ours, theirs) = (self.loss_curve(a)?, self.loss_curve(b)?);
        if ours.len() != theirs.len() || ours.is_empty() {
            return Err(format!("{a} has {} losses, {b} has {}", ours.len(), theirs.len()));
        }
        Ok(how.of(&ours, &theirs))
    }
}

/// A distance of two curves of one length.
#[derive(Clone, Copy)]
enum Measure {
    Largest,
    Mean,
}

impl Measure {
    fn name(self) -> &'static str {
        match self {
            Self::Largest => "largest",
            Self::Mean => "mean",
        }
    }

    fn of(self, a: &[f64], b: &[f64]) -> f64 {
        let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        match self {
            // `f64::max` would lose a NaN.
            Self::Largest => {
                differences.fold(0.0, |largest, next| if largest >= next || largest.is_nan() { largest } else { next })
            }
            Self::Mean => differences.sum::<f64>() / a.len() as f64,
        }
    }
}

#[cfg(test)]
mod tests;
