//! The bounds of merging, with their reasons.

/// Ranks of all adapters together in one module: their core, that many rows and columns of f64, is then 128 MiB at most.
pub const STACKED_RANK_MAX: usize = 4096;

/// What the modules that are merged at once may take beside the program, in bytes. One module of a 7B model takes some
/// 30 MB, so that two or three threads work at once and the whole stays under 150 MB; a single larger module is merged
/// alone.
pub const SCRATCH: usize = 96 << 20;

/// Elements of a dense update that are looked at together: 2 MiB in f64, which stays in the processor's cache.
pub const BLOCK: usize = 1 << 18;

/// Elements of a dense result that are kept while its rank is cut: 32 MiB in f64. Larger ones are made anew in each pass.
pub const DENSE: usize = 4 << 20;

/// Columns that the range finder carries beside those that were asked for, and its power iterations: with both, the
/// error of a truncation is within a few per cent of the best even for flat spectra (Halko, Martinsson and Tropp 2011,
/// arXiv 0909.4061, sections 4.5 and 9.3).
pub const OVERSAMPLING: usize = 8;
pub const POWER_ITERATIONS: usize = 3;

/// Evaluations of one search for weights, for each adapter: four rounds of two trials, and as many again for steps that
/// bring nothing.
pub const EVALUATIONS_PER_ADAPTER: usize = 16;
