//! ggml's super-blocks of 256 ("k-quants"): scales of sub-blocks are quantised in turn.

use super::half_at;

/// `d * scale * q - dmin * min`, 2 bits a quant. Bytes: 16 of scale and min nibbles, 64 of quants, `d`, `dmin`.
pub fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (d, dmin) = (half_at(block, 80), half_at(block, 82));
    for (sub, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(block[sub] & 15);
        let min = dmin * f32::from(block[sub] >> 4);
        let (quants, shift) = quarter(&block[16..80], sub);
        for (value, &q) in out.iter_mut().zip(quants) {
            *value = scale * f32::from(q >> shift & 3) - min;
        }
    }
}

/// `d * (scale - 32) * (q - 4 unless the high bit is set)`. Bytes: 32 of high bits, 64 of low 2 bits, 12 of scales, `d`.
pub fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let d = half_at(block, 108);
    for (sub, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * (f32::from(six_bit_scale(&block[96..108], sub)) - 32.0);
        let (quants, shift) = quarter(&block[32..96], sub);
        let high = &block[sub % 2 * 16..];
        for ((value, &q), &h) in out.iter_mut().zip(quants).zip(high) {
            let borrow = if h >> (sub / 2) & 1 == 0 { 4 } else { 0 };
            *value = scale * (i32::from(q >> shift & 3) - borrow) as f32;
        }
    }
}

/// `d * scale * q - dmin * min`, 4 bits a quant. Bytes: `d`, `dmin`, 12 of scales and mins, 128 of nibbles.
pub fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    for (sub, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_and_min(block, sub);
        for (value, &q) in out.iter_mut().zip(&block[16 + sub / 2 * 32..]) {
            *value = scale * f32::from(q >> (sub % 2 * 4) & 15) - min;
        }
    }
}

/// As `q4_k` with a fifth bit. Bytes: `d`, `dmin`, 12 of scales and mins, 32 of fifth bits, 128 of nibbles.
pub fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    for (sub, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_and_min(block, sub);
        let (low, high) = (&block[48 + sub / 2 * 32..], &block[16..48]);
        for ((value, &q), &h) in out.iter_mut().zip(low).zip(high) {
            let quant = q >> (sub % 2 * 4) & 15 | (h >> sub & 1) << 4;
            *value = scale * f32::from(quant) - min;
        }
    }
}

/// `d * scale * (q - 32)`, 6 bits a quant. Bytes: 128 of low 4 bits, 64 of high 2 bits, 16 signed scales, `d`.
pub fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = half_at(block, 208);
    for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (half, part) = (group / 4, group % 4);
        let low = &block[half * 64 + part % 2 * 32..];
        let high = &block[128 + half * 32..];
        for (l, value) in out.iter_mut().enumerate() {
            let scale = block[192 + half * 8 + part * 2 + l / 16] as i8;
            let quant = low[l] >> (part / 2 * 4) & 15 | (high[l] >> (part * 2) & 3) << 4;
            *value = d * f32::from(scale) * (i32::from(quant) - 32) as f32;
        }
    }
}

/// `d * q` with `d` an f32. Bytes: `d`, 256 signed, 32 of sums that only products need.
pub fn q8_k(block: &[u8; 292], out: &mut [f32; 256]) {
    let d = f32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    for (value, &q) in out.iter_mut().zip(&block[4..260]) {
        *value = d * f32::from(q as i8);
    }
}

/// The 16 bytes and the shift that hold the 2-bit quants of a sub-block of 16: 128 elements share 32 bytes.
fn quarter(quants: &[u8], sub: usize) -> (&[u8], usize) {
    let start = sub / 8 * 32 + sub % 2 * 16;
    (&quants[start..start + 16], sub % 8 / 2 * 2)
}

/// Scale `sub` of 16, 6 bits: 4 low bits in the first 8 bytes, 2 high bits in the last 4.
fn six_bit_scale(scales: &[u8], sub: usize) -> u8 {
    let low = scales[sub % 8] >> (sub / 8 * 4) & 15;
    let high = scales[8 + sub % 4] >> (sub / 4 * 2) & 3;
    low | high << 4
}

/// Scale and minimum of a sub-block of 32 (`get_scale_min_k4`), times the block's own.
fn scale_and_min(block: &[u8], sub: usize) -> (f32, f32) {
    let packed = &block[4..16];
    let (scale, min) = if sub < 4 {
        (packed[sub] & 63, packed[sub + 4] & 63)
    } else {
        let low = packed[sub + 4];
        (low & 15 | packed[sub - 4] >> 6 << 4, low >> 4 | packed[sub] >> 6 << 4)
    };
    (half_at(block, 0) * f32::from(scale), half_at(block, 2) * f32::from(min))
}
