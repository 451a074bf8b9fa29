//! RMS norm (Zhang and Sennrich 2019), forward and backward, a row at a time.
//!
//! With `s = 1 / sqrt(mean(x^2) + eps)`: `y = x s w`, and `dx = s (w dy - x s^2 mean(x w dy))`.

use super::element::{Element, LANES};
use super::instructions::Instructions;
use super::rows::{RowLoop, each, fold, sum};

struct Forward<'a> {
    x: &'a [f32],
    w: &'a [f32],
    eps: f32,
}

#[inline(always)]
fn inverse_root(x: &[f32], eps: f32) -> f32 {
    1.0 / (sum(x, x, |x, _| x * x) / x.len() as f32 + eps).sqrt()
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

/// The sum of `x w dy`.
#[inline(always)]
fn weighed<D: Element>(x: &[f32], w: &[f32], dy: &[D]) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((x, x_rest), (w, w_rest)) = (x.as_chunks::<LANES>(), w.as_chunks::<LANES>());
    let (dy, dy_rest) = dy.as_chunks::<LANES>();
    for ((x, w), dy) in x.iter().zip(w).zip(dy) {
        for (lane, ((x, w), dy)) in lanes.iter_mut().zip(x.iter().zip(w).zip(dy)) {
            *lane += x * w * dy.widen();
        }
    }
    for (lane, ((x, w), dy)) in lanes.iter_mut().zip(x_rest.iter().zip(w_rest).zip(dy_rest)) {
        *lane += x * w * dy.widen();
    }
    fold(lanes)
}

impl<D: Element> RowLoop<&mut [f32]> for Backward<'_, D> {
    #[inline(always)]
    fn row(&self, index: usize, dx: &mut [f32]) {
        let cols = dx.len();
        let (dy, x, w) = (&self.dy[index * cols..][..cols], &self.x[index * cols..][..cols], &self.w[..cols]);
        let scale = inverse_root(x, self.eps);
        let mean = weighed(x, w, dy) / cols as f32;
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
