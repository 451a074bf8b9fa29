//! RMS norm (Zhang and Sennrich 2019), forward and backward, a row at a time.
//!
//! With `s = 1 / sqrt(mean(x^2) + eps)`: `y = x s w`, and `dx = s (w dy - x s^2 mean(x w dy))`.

use super::element::Element;
use super::instructions::Instructions;
use super::rows::{RowLoop, each, sum};

struct Forward<'a> {
    x: &'a [f32],
    w: &'a [f32],
    eps: f32,
}

#[inline(always)]
fn inverse_root(x: &[f32], eps: f32) -> f32 {
    1.0 / (sum(x.len(), |i| x[i] * x[i]) / x.len() as f32 + eps).sqrt()
}

impl<O: Element> RowLoop<&mut [O]> for Forward<'_> {
    #[inline(always)]
    fn row(&self, index: usize, out: &mut [O]) {
        let x = &self.x[index * out.len()..][..out.len()];
        let scale = inverse_root(x, self.eps);
        for ((out, x), w) in out.iter_mut().zip(x).zip(self.w) {
            *out = O::narrow(x * scale * w);
        }
    }
}

pub fn forward<O: Element>(instructions: Instructions, x: &[f32], w: &[f32], eps: f32, out: &mut [O]) {
    each(instructions, out, w.len(), &Forward { x, w, eps });
}

struct Backward<'a, D> {
    dy: &'a [D],
    x: &'a [f32],
    w: &'a [f32],
    eps: f32,
    onto: Option<&'a [f32]>,
}

impl<D: Element> RowLoop<&mut [f32]> for Backward<'_, D> {
    #[inline(always)]
    fn row(&self, index: usize, dx: &mut [f32]) {
        let cols = dx.len();
        let (dy, x, w) = (&self.dy[index * cols..][..cols], &self.x[index * cols..][..cols], &self.w[..cols]);
        let scale = inverse_root(x, self.eps);
        let mean = sum(cols, |i| x[i] * w[i] * dy[i].widen()) / cols as f32;
        let pull = scale * scale * mean;
        match self.onto {
            None => {
                for i in 0..cols {
                    dx[i] = scale * (w[i] * dy[i].widen() - x[i] * pull);
                }
            }
            Some(onto) => {
                let onto = &onto[index * cols..][..cols];
                for i in 0..cols {
                    dx[i] = onto[i] + scale * (w[i] * dy[i].widen() - x[i] * pull);
                }
            }
        }
    }
}

/// The gradient in `x`, added to `onto`.
pub fn backward<D: Element>(
    instructions: Instructions,
    (dy, x, w): (&[D], &[f32], &[f32]),
    eps: f32,
    onto: Option<&[f32]>,
    dx: &mut [f32],
) {
    each(instructions, dx, w.len(), &Backward { dy, x, w, eps, onto });
}
