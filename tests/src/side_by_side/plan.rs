//! Which processes run, and in what turn.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::Section;

/// Tokens of the loss curves, in the folder of outputs.
pub const TEXT: &str = "text.json";
/// Steps of one long sequence.
pub const LONG: &str = "long.json";
/// Steps of short samples of many lengths.
pub const UNEVEN: &str = "uneven.json";

/// No run takes a third of it on two cores.
const TIME_MAX: Duration = Duration::from_secs(3600);

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Setup {
    pub python: PathBuf,
    pub potluck: PathBuf,
    pub gguf: PathBuf,
    pub folder: PathBuf,
    /// The Python programs.
    pub scripts: PathBuf,
    pub repository: PathBuf,
    pub out: PathBuf,
    pub threads: usize,
}

/// How much is run.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Sequences and tokens of each, of the timed step.
    pub step: [usize; 2],
    /// Timed steps, the first (not counted) among them.
    pub steps: usize,
    /// Times that the timed runs take turns.
    pub rounds: usize,
    /// Steps, sequences and tokens of each, of the loss curves.
    pub text: [usize; 3],
    /// Steps that are compared bit by bit.
    pub bits: usize,
    /// Steps, and tokens of the one sequence.
    pub long: [usize; 2],
    /// Steps, and samples of each.
    pub uneven: [usize; 2],
    pub prompt: usize,
    pub new_tokens: usize,
}

impl Sizes {
    pub const FULL: Self = Self {
        step: [4, 512],
        steps: 5,
        rounds: 2,
        text: [200, 2, 128],
        bits: 20,
        long: [4, 2048],
        uneven: [5, 16],
        prompt: 512,
        new_tokens: 128,
    };
    pub const QUICK: Self = Self {
        step: [1, 48],
        steps: 2,
        rounds: 1,
        text: [4, 2, 24],
        bits: 2,
        long: [2, 160],
        uneven: [2, 3],
        prompt: 64,
        new_tokens: 16,
    };
}

/// One process.
#[derive(Clone, Debug)]
pub struct Run {
    /// What the judge knows it by.
    pub id: String,
    /// The parts that read its answer; it is run within the first.
    pub sections: &'static [Section],
    pub rounds: usize,
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub time_max: Duration,
}

/// The runs of these sections, in order; those of one section take turns.
pub fn plan(setup: &Setup, sizes: &Sizes, sections: &[Section]) -> Vec<Run> {
    let planner = Planner { setup, sizes };
    let mut runs = planner.steps();
    runs.extend(planner.memory());
    runs.extend(planner.losses());
    runs.extend(planner.bits());
    runs.extend(planner.shapes());
    runs.extend(planner.generation());
    runs.retain(|run| run.sections.iter().any(|section| sections.contains(section)));
    runs
}

struct Planner<'a> {
    setup: &'a Setup,
    sizes: &'a Sizes,
}

const BF16: &[&str] = &["--backend", "cpu", "--dtype", "bf16"];
const F32: &[&str] = &["--backend", "cpu", "--dtype", "f32"];
const F32_AVX512: &[&str] = &["--backend", "cpu", "--dtype", "f32", "--instructions", "avx512"];
const F32_AVX2: &[&str] = &["--backend", "cpu", "--dtype", "f32", "--instructions", "avx2"];
const CANDLE: &[&str] = &["--backend", "candle", "--dtype", "f32"];

impl Planner<'_> {
    fn steps(&self) -> Vec<Run> {
        const BOTH: &[Section] = &[Section::Speed, Section::Memory];
        const SPEED: &[Section] = &[Section::Speed];
        let step = self.timed_step();
        vec![
            self.peft("peft-bf16", BOTH, "bf16", &step),
            self.ours("cpu-bf16", BOTH, BF16, &step),
            self.peft("peft-f32", SPEED, "f32", &step),
            self.ours("cpu-f32-avx512", SPEED, F32_AVX512, &step),
            self.ours("cpu-f32-avx2", SPEED, F32_AVX2, &step),
            self.ours("candle-f32", SPEED, CANDLE, &step),
        ]
    }

    fn memory(&self) -> Vec<Run> {
        const MEMORY: &[Section] = &[Section::Memory];
        let with = |more: &[&str]| [self.timed_step(), more.iter().map(OsString::from).collect()].concat();
        let full = with(&["--recompute", "full"]);
        let runs = [
            self.peft("peft-bf16-checkpoint", MEMORY, "bf16", &with(&["--checkpoint"])),
            self.ours("cpu-bf16-selective", MEMORY, BF16, &with(&["--recompute", "selective"])),
            self.ours("cpu-bf16-full", MEMORY, BF16, &full),
            self.on_gguf("cpu-bf16-q4-full", MEMORY, BF16, &full),
        ];
        // The peak is the same every time.
        runs.into_iter().map(Run::once).collect()
    }

    fn losses(&self) -> Vec<Run> {
        const LOSSES: &[Section] = &[Section::Losses];
        let text = self.tokens(TEXT, &[]);
        let runs = [
            self.peft("peft-f32-text", LOSSES, "f32", &text),
            self.ours("cpu-f32-text", LOSSES, F32, &text),
            self.ours("candle-f32-text", LOSSES, CANDLE, &text),
            self.peft("peft-bf16-text", LOSSES, "bf16", &text),
            self.peft("peft-bf16-text-seed-1", LOSSES, "bf16", &self.tokens(TEXT, &["--seed", "1"])),
            self.ours("cpu-bf16-text", LOSSES, BF16, &text),
        ];
        runs.into_iter().map(Run::once).collect()
    }

    fn bits(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        let steps = self.sizes.bits.to_string();
        for (name, engine) in [("f32", F32), ("bf16", BF16)] {
            for threads in 1..=3 {
                let id = format!("cpu-{name}-threads-{threads}");
                let work = self.tokens(TEXT, &["--steps", &steps]);
                let run = self.potluck(&id, &[Section::Bits], "step", engine, threads, &work);
                runs.push(run.with("--base", &self.setup.folder).once());
            }
        }
        runs
    }

    fn shapes(&self) -> Vec<Run> {
        const SHAPES: &[Section] = &[Section::Shapes];
        let mut runs = Vec::new();
        for (name, file) in [("long", LONG), ("uneven", UNEVEN)] {
            let work = self.tokens(file, &[]);
            runs.push(self.peft(&format!("peft-bf16-{name}"), SHAPES, "bf16", &work));
            runs.push(self.ours(&format!("cpu-bf16-{name}"), SHAPES, BF16, &work));
            runs.push(self.peft(&format!("peft-f32-{name}"), SHAPES, "f32", &work));
            runs.push(self.ours(&format!("cpu-f32-{name}"), SHAPES, F32, &work));
        }
        runs
    }

    fn generation(&self) -> Vec<Run> {
        const GENERATION: &[Section] = &[Section::Generation];
        let (prompt, new) = (self.sizes.prompt.to_string(), self.sizes.new_tokens.to_string());
        let work = self.tokens(TEXT, &["--prompt-tokens", &prompt, "--new-tokens", &new]);
        let ours = |id: &str, engine: &[&str]| {
            let run = self.potluck(id, GENERATION, "generate", engine, self.setup.threads, &work);
            run.with("--base", &self.setup.gguf)
        };
        vec![
            self.python("llama-q4", GENERATION, "llama_generate.py", &work).with("--gguf", &self.setup.gguf),
            ours("cpu-bf16-q4-generate", BF16),
            ours("cpu-f32-q4-generate", F32),
        ]
    }

    fn timed_step(&self) -> Vec<OsString> {
        let [batch, seq] = self.sizes.step;
        let values = [("--batch", batch), ("--seq", seq), ("--steps", self.sizes.steps)];
        values.into_iter().flat_map(|(name, value)| [name.into(), value.to_string().into()]).collect()
    }

    fn tokens(&self, file: &str, more: &[&str]) -> Vec<OsString> {
        let mut args = vec!["--tokens".into(), self.setup.out.join(file).into()];
        args.extend(more.iter().map(OsString::from));
        args
    }

    fn ours(&self, id: &str, sections: &'static [Section], engine: &[&str], work: &[OsString]) -> Run {
        self.potluck(id, sections, "step", engine, self.setup.threads, work).with("--base", &self.setup.folder)
    }

    fn on_gguf(&self, id: &str, sections: &'static [Section], engine: &[&str], work: &[OsString]) -> Run {
        self.potluck(id, sections, "step", engine, self.setup.threads, work).with("--base", &self.setup.gguf)
    }

    fn potluck(
        &self,
        id: &str,
        sections: &'static [Section],
        verb: &str,
        engine: &[&str],
        threads: usize,
        work: &[OsString],
    ) -> Run {
        let mut args: Vec<OsString> = vec!["--home".into(), self.setup.out.join("home").into()];
        args.extend(["--json", "--quiet", "bench", verb].map(OsString::from));
        args.extend(engine.iter().map(OsString::from));
        args.extend(["--threads".into(), threads.to_string().into()]);
        args.extend_from_slice(work);
        self.run(id, sections, self.setup.potluck.clone(), args)
    }

    fn peft(&self, id: &str, sections: &'static [Section], dtype: &str, work: &[OsString]) -> Run {
        self.python(id, sections, "peft_step.py", work).with("--dtype", dtype).with("--base", &self.setup.folder)
    }

    fn python(&self, id: &str, sections: &'static [Section], script: &str, work: &[OsString]) -> Run {
        let mut args: Vec<OsString> = vec![self.setup.scripts.join(script).into()];
        args.extend(["--threads".into(), self.setup.threads.to_string().into()]);
        args.extend_from_slice(work);
        self.run(id, sections, self.setup.python.clone(), args)
    }

    fn run(&self, id: &str, sections: &'static [Section], program: PathBuf, args: Vec<OsString>) -> Run {
        Run { id: id.to_owned(), sections, rounds: self.sizes.rounds, program, args, time_max: TIME_MAX }
    }
}

impl Run {
    fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.args.extend([name.into(), value.into()]);
        self
    }

    fn once(mut self) -> Self {
        self.rounds = 1;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum;

    use super::*;

    fn setup() -> Setup {
        Setup {
            python: "python".into(),
            potluck: "potluck".into(),
            gguf: "model.gguf".into(),
            folder: "folder".into(),
            scripts: "scripts".into(),
            repository: "repository".into(),
            out: "out".into(),
            threads: 2,
        }
    }

    #[test]
    fn every_run_has_a_name_and_a_base_of_its_own() {
        let runs = plan(&setup(), &Sizes::FULL, Section::value_variants());
        let ids: BTreeSet<&str> = runs.iter().map(|run| run.id.as_str()).collect();
        assert_eq!(ids.len(), runs.len());
        for run in &runs {
            let bases = run.args.iter().filter(|arg| *arg == "--base" || *arg == "--gguf").count();
            assert_eq!(bases, 1, "{}: {:?}", run.id, run.args);
        }
    }

    #[test]
    fn a_part_runs_what_it_reads() {
        let ids = |sections: &[Section]| -> Vec<String> {
            plan(&setup(), &Sizes::FULL, sections).into_iter().map(|run| run.id).collect()
        };
        let memory = ids(&[Section::Memory]);
        assert!(memory.contains(&"cpu-bf16".to_owned()) && memory.contains(&"cpu-bf16-full".to_owned()));
        assert!(!memory.contains(&"peft-f32".to_owned()));
        assert_eq!(ids(&[Section::Bits]).len(), 6);
    }

    /// The judge knows the runs by the plan's names.
    #[test]
    fn the_judge_asks_for_nothing_that_is_not_planned() {
        let mut runs = crate::side_by_side::runs::Runs::default();
        for run in plan(&setup(), &Sizes::FULL, Section::value_variants()) {
            let answer = serde_json::json!({
                "tokens_per_second": 1.0, "peak_rss_mb": 1.0, "losses": [1.0], "params_digest": "d", "gflops": 1.0,
                "prompt_tokens_per_second": 1.0, "new_tokens_per_second": 1.0,
            });
            runs.add(&run.id, answer);
        }
        let lines = crate::side_by_side::judge::lines(&runs, &Sizes::FULL, Section::value_variants(), true);
        for line in lines {
            assert!(line.figure.is_ok(), "{}: {:?}", line.what, line.figure);
            assert!(!line.ours.contains("not measured") && !line.beside.contains("not measured"), "{line:?}");
        }
    }
}
