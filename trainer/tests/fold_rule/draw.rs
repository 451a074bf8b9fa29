//! Random numbers and the values that arithmetic goes wrong on.

/// SplitMix64.
pub struct Draw(pub u64);

impl Draw {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Mostly of ordinary size; also zeros of both signs, denormals, numbers from 2^-40 to 2^8, and rarely any larger one.
    pub fn value(&mut self) -> f32 {
        let (sign, mantissa) = ((self.bits() & 1) << 31, self.bits() & 0x7f_ffff);
        let exponent = match self.below(40) {
            0 => return f32::from_bits(sign as u32),
            1 => 0,
            2 => 87 + self.bits() % 48,
            3 if self.below(300) == 0 => 135 + self.bits() % 120,
            _ => 116 + self.bits() % 11,
        };
        f32::from_bits((sign | exponent << 23 | mantissa) as u32)
    }

    /// A 16-bit float of `mantissa` bits whose exponent lies in a range.
    pub fn narrow(&mut self, mantissa: u32, exponents: std::ops::Range<u64>) -> [u8; 2] {
        let exponent = exponents.start + self.bits() % (exponents.end - exponents.start);
        let bits = (self.bits() & 1) << 15 | exponent << mantissa | self.bits() & ((1 << mantissa) - 1);
        (bits as u16).to_le_bytes()
    }

    /// Any order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}
