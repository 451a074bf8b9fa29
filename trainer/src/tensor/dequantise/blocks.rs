//! ggml's blocks of 32: a scale, in some types a minimum, and the quants.

use super::half_at;

/// `d * (q - 8)`, low nibbles first. Bytes: `d`, 16 of nibbles.
pub fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for (j, &q) in block[2..].iter().enumerate() {
        out[j] = (i32::from(q & 15) - 8) as f32 * d;
        out[j + 16] = (i32::from(q >> 4) - 8) as f32 * d;
    }
}

/// `d * q + m`. Bytes: `d`, `m`, 16 of nibbles.
pub fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for (j, &q) in block[4..].iter().enumerate() {
        out[j] = f32::from(q & 15) * d + m;
        out[j + 16] = f32::from(q >> 4) * d + m;
    }
}

/// `d * (q - 16)`. Bytes: `d`, 4 of fifth bits, 16 of nibbles.
pub fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for (j, &q) in block[6..].iter().enumerate() {
        let (low, high) = fifth_bits(&block[2..6], j);
        out[j] = (i32::from(q & 15 | low) - 16) as f32 * d;
        out[j + 16] = (i32::from(q >> 4 | high) - 16) as f32 * d;
    }
}

/// `d * q + m`. Bytes: `d`, `m`, 4 of fifth bits, 16 of nibbles.
pub fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for (j, &q) in block[8..].iter().enumerate() {
        let (low, high) = fifth_bits(&block[4..8], j);
        out[j] = f32::from(q & 15 | low) * d + m;
        out[j + 16] = f32::from(q >> 4 | high) * d + m;
    }
}

/// `d * q`. Bytes: `d`, 32 signed.
pub fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for (value, &q) in out.iter_mut().zip(&block[2..]) {
        *value = f32::from(q as i8) * d;
    }
}

/// The fifth bits, as 16 or 0, of elements `j` and `j + 16`.
fn fifth_bits(bits: &[u8], j: usize) -> (u8, u8) {
    let bit = |index: usize| (bits[index / 8] >> (index % 8) & 1) << 4;
    (bit(j), bit(j + 16))
}
