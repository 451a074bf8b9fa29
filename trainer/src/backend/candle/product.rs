//! Matrix products: candle's, or plain loops where candle would spend longer getting ready than multiplying.
//!
//! candle 0.11 asks how many processors there are on each product, and on Linux reads `/proc/cpuinfo` to find out
//! (about 30 microseconds) unless `RAYON_NUM_THREADS` is set. Short sequences have thousands of tiny products.

use candle_core::Tensor;

use super::host::{Element, View, matrix};
use crate::backend::Result;
use crate::backend::real::dot;
use crate::backend::rows::axpy;

/// Multiplications below which the loops win.
const SMALL: usize = 1 << 16;

/// `a b` for two matrices of any strides.
pub fn product<T: Element>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ((m, k), (inner, n)) = (a.dims2()?, b.dims2()?);
    if inner == k
        && m * n * k < SMALL
        && let Some(values) = small::<T>(a, b, (m, n, k))?
    {
        return matrix(values, m, n);
    }
    Ok(a.matmul(b)?)
}

/// `None` where neither loop has contiguous rows to run along.
fn small<T: Element>(a: &Tensor, b: &Tensor, (m, n, k): (usize, usize, usize)) -> Result<Option<Vec<T>>> {
    let (a_strides, b_strides) = ((a.stride()[0], a.stride()[1]), (b.stride()[0], b.stride()[1]));
    let (a, b) = (View::<T>::from_start(a)?, View::<T>::from_start(b)?);
    let (a, b) = (a.slice(), b.slice());
    let mut out = vec![T::ZERO; m * n];
    if n == 0 || k == 0 {
        return Ok(Some(out));
    }
    for (i, out) in out.chunks_exact_mut(n).enumerate() {
        if b_strides.1 == 1 {
            for j in 0..k {
                axpy(out, a[i * a_strides.0 + j * a_strides.1], &b[j * b_strides.0..][..n]);
            }
        } else if b_strides.0 == 1 && a_strides.1 == 1 {
            let row = &a[i * a_strides.0..][..k];
            for (j, out) in out.iter_mut().enumerate() {
                *out = dot(row, &b[j * b_strides.1..][..k]);
            }
        } else {
            return Ok(None);
        }
    }
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Every orientation of both factors, against candle's product.
    #[test]
    fn small_products_equal_candles() {
        let values = |n: usize| -> Vec<f64> { (0..n).map(|i| (i * 7 % 13) as f64 - 6.0).collect() };
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (17, 2, 33), (4, 20, 1)] {
            let either = |rows: usize, cols: usize, flip: bool| {
                let shape = if flip { (cols, rows) } else { (rows, cols) };
                let x = Tensor::from_vec(values(rows * cols), shape, &Device::Cpu).unwrap();
                if flip { x.t().unwrap() } else { x }
            };
            for (flip_a, flip_b) in [(false, false), (true, false), (false, true), (true, true)] {
                let (a, b) = (either(m, k, flip_a), either(k, n, flip_b));
                let got = product::<f64>(&a, &b).unwrap().to_vec2::<f64>().unwrap();
                assert_eq!(got, a.matmul(&b).unwrap().to_vec2::<f64>().unwrap(), "{m} {n} {k} {flip_a} {flip_b}");
            }
        }
    }

    #[test]
    fn views_into_a_larger_matrix_are_followed() {
        let x = Tensor::arange(0.0f32, 60.0, &Device::Cpu).unwrap().reshape((6, 10)).unwrap();
        let a = x.narrow(0, 2, 3).unwrap().narrow(1, 4, 2).unwrap();
        let b = x.narrow(0, 1, 2).unwrap().narrow(1, 3, 4).unwrap();
        let expected = a.matmul(&b).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(product::<f32>(&a, &b).unwrap().to_vec2::<f32>().unwrap(), expected);
    }
}
