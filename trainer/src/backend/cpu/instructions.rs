//! Which instructions the kernels use, found at run time.

use crate::names::named;

/// Instruction sets that kernels are written for, least first. Each includes those before it on its processor family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Instructions {
    /// What the compiler assumes of every processor it builds for.
    Portable,
    /// aarch64, where every processor has it: the portable loops, compiled for it, with fused multiply-add.
    Neon,
    /// AVX2 and FMA (x86-64-v3).
    Avx2,
    /// AVX-512 F, BW, CD, DQ and VL (x86-64-v4).
    Avx512,
    /// The same with products of bf16 pairs, `VDPBF16PS`.
    Avx512Bf16,
}

named!(Instructions { Portable = "portable", Neon = "neon", Avx2 = "avx2", Avx512 = "avx512", Avx512Bf16 = "avx512-bf16" });

impl Instructions {
    /// Least first.
    pub const ALL: [Self; 5] = [Self::Portable, Self::Neon, Self::Avx2, Self::Avx512, Self::Avx512Bf16];

    /// Whether this machine has them.
    pub fn available(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => pulp::x86::V4::try_new().is_some() && std::is_x86_feature_detected!("avx512bf16"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 | Self::Avx512Bf16 => false,
        }
    }

    /// The most that this machine has.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|instructions| instructions.available()).unwrap_or(Self::Portable)
    }

    /// Runs plain loops compiled for these instructions (as far as the machine has them). The loops add and multiply
    /// in the order that they are written in, so their results are the same bits on all of them.
    pub fn vectorise<F: pulp::NullaryFnOnce>(self, loops: F) -> F::Output {
        #[cfg(target_arch = "x86_64")]
        {
            if let (true, Some(v4)) = (self >= Self::Avx512, pulp::x86::V4::try_new()) {
                return v4.vectorize(loops);
            }
            if let (true, Some(v3)) = (self >= Self::Avx2, pulp::x86::V3::try_new()) {
                return v3.vectorize(loops);
            }
        }
        loops.call()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_available_and_names_are_kebab_case() {
        assert!(Instructions::best().available() && Instructions::Portable.available());
        assert_eq!(serde_json::to_string(&Instructions::Avx512Bf16).unwrap(), "\"avx512-bf16\"");
    }
}
