//! Tokens that both sides train on: the repository's own pages and sources, as the base's tokenizer cuts them.

use std::path::{Path, PathBuf};

use potluck_trainer::base::Base;
use potluck_trainer::random::splitmix64;

use super::Outcome;
use super::plan::{LONG, Setup, Sizes, TEXT, UNEVEN};

/// Steps of sequences of ids.
type Steps = Vec<Vec<Vec<u32>>>;

/// Bytes of text for a token, and some more: English and Rust have three to four.
const BYTES_PER_TOKEN: usize = 8;

/// Shortest and longest of the uneven samples.
const UNEVEN_LENGTHS: [usize; 2] = [24, 224];

/// Writes the files of tokens.
pub fn write(setup: &Setup, sizes: &Sizes) -> Outcome<()> {
    let even = vec![vec![sizes.text[2]; sizes.text[1]]; sizes.text[0]];
    let long = vec![vec![sizes.long[1]]; sizes.long[0]];
    let uneven = uneven(sizes.uneven[0], sizes.uneven[1]);
    let wanted = [&even, &long, &uneven].map(|shape| count(shape)).into_iter().max().unwrap_or(0);
    let ids = ids(&setup.gguf, &setup.repository, wanted.max(sizes.prompt))?;
    for (name, shape) in [(TEXT, &even), (LONG, &long), (UNEVEN, &uneven)] {
        std::fs::write(setup.out.join(name), serde_json::to_vec(&cut(&ids, shape)?)?)?;
    }
    Ok(())
}

/// Lengths of the sequences of each step.
fn uneven(steps: usize, samples: usize) -> Vec<Vec<usize>> {
    let [shortest, longest] = UNEVEN_LENGTHS;
    let length = |n: usize| shortest + (splitmix64(n as u64) % (longest - shortest + 1) as u64) as usize;
    (0..steps).map(|step| (0..samples).map(|sample| length(step * samples + sample)).collect()).collect()
}

fn count(shape: &[Vec<usize>]) -> usize {
    shape.iter().flatten().sum()
}

/// The ids one after another, in this shape.
fn cut(ids: &[u32], shape: &[Vec<usize>]) -> Outcome<Steps> {
    let wanted = count(shape);
    let mut left = ids.get(..wanted).ok_or_else(|| format!("{} tokens of text, {wanted} are needed", ids.len()))?;
    let mut next = |&length: &usize| {
        let (sequence, rest) = left.split_at(length);
        left = rest;
        sequence.to_vec()
    };
    Ok(shape.iter().map(|step| step.iter().map(&mut next).collect()).collect())
}

/// At least so many ids, if the text is that long.
fn ids(gguf: &Path, repository: &Path, wanted: usize) -> Outcome<Vec<u32>> {
    let mut text = String::new();
    for path in files(repository)? {
        if text.len() >= wanted * BYTES_PER_TOKEN {
            break;
        }
        text.push_str(&std::fs::read_to_string(path)?);
    }
    Ok(Base::open(gguf)?.tokenizer().encode_prompt(&text)?)
}

/// The pages, then the sources, each sorted by path.
fn files(repository: &Path) -> Outcome<Vec<PathBuf>> {
    let mut pages = vec![repository.join("README.md")];
    walk(&repository.join("docs"), "md", &mut pages)?;
    let mut sources = Vec::new();
    for folder in ["protocol/src", "trainer/src", "node/src", "tests/src"] {
        walk(&repository.join(folder), "rs", &mut sources)?;
    }
    pages.sort();
    sources.sort();
    pages.extend(sources);
    Ok(pages)
}

fn walk(folder: &Path, ending: &str, paths: &mut Vec<PathBuf>) -> Outcome<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, ending, paths)?;
        } else if path.extension().is_some_and(|found| found == ending) {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_cut_one_after_another() {
        let ids: Vec<u32> = (0..10).collect();
        assert_eq!(
            cut(&ids, &[vec![2, 3], vec![4]]).expect("enough"),
            [vec![vec![0, 1], vec![2, 3, 4]], vec![vec![5, 6, 7, 8]]]
        );
        assert!(cut(&ids, &[vec![5, 6]]).is_err());
    }

    #[test]
    fn uneven_samples_are_uneven_and_always_the_same() {
        let lengths = uneven(2, 16);
        assert_eq!(lengths, uneven(2, 16));
        assert!(lengths.iter().flatten().all(|n| (UNEVEN_LENGTHS[0]..=UNEVEN_LENGTHS[1]).contains(n)));
        assert_ne!(lengths[0], lengths[1]);
    }

    #[test]
    fn the_repository_has_text_for_all_steps() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the repository");
        let files = files(repository).expect("readable");
        let bytes: u64 = files.iter().map(|path| path.metadata().expect("there").len()).sum();
        let [steps, batch, seq] = Sizes::FULL.text;
        assert!(bytes as usize > steps * batch * seq * BYTES_PER_TOKEN, "{bytes} bytes");
    }
}
