//! Slices of candle's host tensors: borrowed for reading, updated in place, or made from a vector without a copy.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Storage, Tensor, WithDType, bail};

use crate::backend::Result;
use crate::backend::real::Real;

/// A float type that both the kernels and candle know.
pub trait Element: Real + WithDType {}
impl Element for f32 {}
impl Element for f64 {}

/// A contiguous host tensor, held for reading.
pub struct View<'a, T> {
    /// candle's read guard; boxed because its type belongs to a crate that candle does not re-export.
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    range: Range<usize>,
    element: PhantomData<T>,
}

impl<'a, T: Element> View<'a, T> {
    pub fn new(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let range = contiguous(layout)?;
        // Checked here once, so that `slice` only repeats what is known to succeed.
        host_slice::<T>(&storage, &range)?;
        Ok(Self { storage: Box::new(storage), range, element: PhantomData })
    }

    /// Everything of the storage from the tensor's first element on, whatever its strides.
    pub fn from_start(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let len = match &*storage {
            Storage::Cpu(storage) => T::cpu_storage_as_slice(storage)?.len(),
            _ => 0,
        };
        let range = layout.start_offset().min(len)..len;
        host_slice::<T>(&storage, &range)?;
        Ok(Self { storage: Box::new(storage), range, element: PhantomData })
    }

    pub fn slice(&self) -> &[T] {
        host_slice(&self.storage, &self.range).unwrap_or_default()
    }
}

fn contiguous(layout: &Layout) -> candle_core::Result<Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!("a buffer is not contiguous: {layout:?}"),
    }
}

fn host_slice<'a, T: Element>(storage: &'a Storage, range: &Range<usize>) -> candle_core::Result<&'a [T]> {
    match storage {
        Storage::Cpu(storage) => Ok(&T::cpu_storage_as_slice(storage)?[range.clone()]),
        _ => bail!("a buffer is not on the host"),
    }
}

/// A closure as candle's in-place operation.
struct Update<T, F> {
    f: Cell<Option<F>>,
    element: PhantomData<T>,
}

/// The storage's slice; candle has no generic accessor for changing one.
trait SliceMut: Sized {
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
}

impl<T: Element> SliceMut for T {
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [T]> {
        let values: &mut dyn std::any::Any = match storage {
            CpuStorage::F32(values) => values,
            CpuStorage::F64(values) => values,
            _ => return None,
        };
        values.downcast_mut::<Vec<T>>().map(Vec::as_mut_slice)
    }
}

impl<T: Element, F: FnOnce(&mut [T])> InplaceOp1 for Update<T, F> {
    fn name(&self) -> &'static str {
        "update"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let range = contiguous(layout)?;
        match (T::slice_mut(storage), self.f.take()) {
            (Some(values), Some(f)) => f(&mut values[range]),
            _ => bail!("a buffer has another type than its backend"),
        }
        Ok(())
    }
}

/// Changes a contiguous host tensor in place. The closure must not touch another view of the same memory.
pub fn update<T: Element>(tensor: &Tensor, f: impl FnOnce(&mut [T])) -> Result<()> {
    tensor.inplace_op1(&Update { f: Cell::new(Some(f)), element: PhantomData })?;
    Ok(())
}

/// A matrix that takes over a vector's memory.
pub fn matrix<T: Element>(values: Vec<T>, rows: usize, cols: usize) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, (rows, cols), &Device::Cpu)?)
}
