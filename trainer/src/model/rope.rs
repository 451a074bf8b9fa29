//! The angles of rotary positions: `position * theta^(-2 i / head_dim)`.

use potluck_protocol::base::Architecture;

use crate::backend::real::Real;
use crate::backend::{AttentionShape, Backend, Result};

/// Cosines and sines for each row of a batch, `[rows, head_dim / 2]`.
pub struct Angles<Buf> {
    /// Of the angle of each pair of elements.
    pub cos: Buf,
    /// Of the same angles.
    pub sin: Buf,
}

impl<Buf> Angles<Buf> {
    /// For the positions of a batch's rows; both matrices are made on the host and moved to the backend.
    pub fn new<B: Backend<Buf = Buf>>(
        backend: &B,
        architecture: &Architecture,
        shape: &AttentionShape,
    ) -> Result<Self> {
        let half = shape.head_dim / 2;
        let theta = f64::from(architecture.rope_theta.get());
        let speeds: Vec<f64> = (0..half).map(|i| theta.powf(-(i as f64) / half as f64)).collect();
        let rows = shape.rows();
        let (mut cos, mut sin) = (Vec::with_capacity(rows * half), Vec::with_capacity(rows * half));
        for span in &shape.spans {
            for position in span.start..span.start + span.length {
                for speed in &speeds {
                    let (s, c) = (position as f64 * speed).sin_cos();
                    cos.push(B::Real::of(c));
                    sin.push(B::Real::of(s));
                }
            }
        }
        Ok(Self { cos: backend.buffer(cos, rows, half)?, sin: backend.buffer(sin, rows, half)? })
    }
}
