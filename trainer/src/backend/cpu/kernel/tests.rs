//! Every tile of this machine, through the product that drives it, against plain `f64` sums: random shapes, odd sizes,
//! both ways round, every storage, several terms; and the same bits however the work is cut.

use half::bf16;
use proptest::prelude::*;

use super::factor::{Factor, Orientation, Stored};
use super::output::Out;
use super::product::{Product, Rows, Term, Values, run};
use super::*;
use crate::backend::cpu::element::Element;
use crate::backend::cpu::instructions::Instructions;
use crate::random::splitmix64;

fn noise(seed: u64, len: usize) -> Vec<f32> {
    (0..len as u64).map(|i| (splitmix64(seed ^ i) >> 40) as f32 / (1u32 << 23) as f32 - 1.0).collect()
}

fn narrowed(values: &[f32]) -> Vec<bf16> {
    values.iter().map(|&value| Element::narrow(value)).collect()
}

/// A product of two terms, in both storages.
struct Case {
    rows: usize,
    depths: [usize; 2],
    cols: usize,
    orientation: Orientation,
    x: [Vec<f32>; 2],
    w: [Vec<f32>; 2],
    onto: Vec<f32>,
    scale: f32,
}

impl Case {
    fn new(seed: u64, rows: usize, depths: [usize; 2], cols: usize, orientation: Orientation) -> Self {
        // Values that bf16 holds exactly, so that both storages mean the same numbers.
        let values = |seed, len| narrowed(&noise(seed, len)).iter().map(|value| value.widen()).collect();
        Self {
            rows,
            depths,
            cols,
            orientation,
            x: [0, 1].map(|i| values(seed + i as u64, rows * depths[i])),
            w: [0, 1].map(|i| values(seed + 7 + i as u64, cols * depths[i])),
            onto: values(seed + 20, rows * cols),
            scale: 0.5,
        }
    }

    fn expected(&self) -> Vec<f64> {
        let element = |row: usize, col: usize| {
            let mut sum = 0.0;
            for (depth, (x, w)) in self.depths.iter().zip(self.x.iter().zip(&self.w)) {
                for k in 0..*depth {
                    let at = match self.orientation {
                        Orientation::RowsAreColumns => col * depth + k,
                        Orientation::RowsAreSteps => k * self.cols + col,
                    };
                    sum += f64::from(x[row * depth + k]) * f64::from(w[at]);
                }
            }
            sum * f64::from(self.scale) + f64::from(self.onto[row * self.cols + col])
        };
        (0..self.rows * self.cols).map(|i| element(i / self.cols, i % self.cols)).collect()
    }

    fn run<T: Tile>(&self, tile: T, instructions: Instructions, storage: usize) -> Vec<f32> {
        let narrow_x = self.x.each_ref().map(|x| narrowed(x));
        let narrow_w = self.w.each_ref().map(|w| narrowed(w));
        let mut out = vec![f32::NAN; self.rows * self.cols];
        let terms = [0, 1].map(|i| {
            let (depth, narrow) = (self.depths[i], storage == 1);
            let values = if narrow { Values::Bf16(&narrow_x[i]) } else { Values::F32(&self.x[i]) };
            let stored = if narrow { Stored::Bf16(&narrow_w[i]) } else { Stored::F32(&self.w[i]) };
            let stride = if self.orientation == Orientation::RowsAreColumns { depth } else { self.cols };
            let factor = Factor { stored, stride, orientation: self.orientation, depth, cols: self.cols };
            Term { x: Rows { values, stride: depth }, factor }
        });
        let onto = Some(Rows { values: Values::F32(&self.onto), stride: self.cols });
        let to = Out::F32 { values: &mut out, stride: self.cols };
        let terms = terms.into_iter().enumerate().filter(|&(i, _)| i == 0 || self.depths[i] > 0);
        let terms = terms.map(|(_, term)| term).collect();
        let product = Product { terms, cols: self.cols, scale: self.scale, onto, out: to };
        run(tile, instructions, self.rows, &mut [product]);
        out
    }

    fn check<T: Tile>(&self, tile: T, instructions: Instructions) -> Result<(), TestCaseError> {
        let expected = self.expected();
        let depth = (self.depths[0] + self.depths[1]) as f64;
        for storage in 0..2 {
            let got = self.run(tile, instructions, storage);
            for (index, (got, expected)) in got.iter().zip(&expected).enumerate() {
                let far = (f64::from(*got) - expected).abs();
                prop_assert!(
                    far < 1e-6 * depth + 1e-6,
                    "{instructions:?} storage {storage} at {index}: {got}, {expected}"
                );
            }
            let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            for threads in [1, 3] {
                let again = pool(threads).install(|| self.run(tile, instructions, storage));
                prop_assert!(again.iter().zip(&got).all(|(a, b)| a.to_bits() == b.to_bits()), "{threads} threads");
            }
        }
        Ok(())
    }

    fn check_all(&self) -> Result<(), TestCaseError> {
        self.check(F32Portable, Instructions::Portable)?;
        if let Some(tile) = F32Neon::new() {
            self.check(tile, Instructions::Neon)?;
        }
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(tile) = F32Avx2::new() {
                self.check(tile, Instructions::Avx2)?;
            }
            if let Some(tile) = F32Avx512::new() {
                self.check(tile, Instructions::Avx512)?;
            }
            if let Some(tile) = Bf16Avx512::new() {
                self.check(tile, Instructions::Avx512Bf16)?;
            }
        }
        Ok(())
    }
}

fn orientations() -> impl Strategy<Value = Orientation> {
    prop_oneof![Just(Orientation::RowsAreColumns), Just(Orientation::RowsAreSteps)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_tile_multiplies_as_plain_sums_do(
        seed in any::<u64>(),
        rows in 1usize..40,
        first in 1usize..70,
        second in 0usize..20,
        cols in 1usize..80,
        orientation in orientations(),
    ) {
        Case::new(seed, rows, [first, second], cols, orientation).check_all()?;
    }
}

/// Longer than what goes through in one pass, wide enough for several tasks, and odd everywhere.
#[test]
fn long_contractions_and_many_tasks() {
    for orientation in [Orientation::RowsAreColumns, Orientation::RowsAreSteps] {
        Case::new(1, 13, [3_500, 17], 131, orientation).check_all().unwrap();
        Case::new(2, 131, [2_047, 16], 70, orientation).check_all().unwrap();
    }
}

/// Products of few rows, which do not pack the other factor: every height, whole groups and not, and beyond one stretch.
#[test]
fn few_rows_over_a_factor_as_it_lies() {
    for (seed, rows) in [8, 12, 16, 24, 48, 64].into_iter().enumerate() {
        for (depth, cols) in [(1, 32), (2, 97), (513, 33), (1_030, 64)] {
            Case::new(seed as u64, rows, [depth, 0], cols, Orientation::RowsAreSteps).check_all().unwrap();
        }
    }
}

#[test]
fn nothing_to_add_up_is_what_it_goes_onto() {
    Case::new(3, 5, [0, 0], 33, Orientation::RowsAreSteps).check_all().unwrap();
}
