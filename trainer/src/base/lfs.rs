//! Git LFS pointers: the few lines that stand in a clone where a large file belongs, if `git lfs` was not there to fetch it.

use super::BaseError;

/// How a pointer begins. <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>
const BEGIN: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Whether the bytes are a pointer and no file.
pub fn is_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(BEGIN)
}

pub(super) fn refuse_pointer(file: &str, bytes: &[u8]) -> Result<(), BaseError> {
    if is_pointer(bytes) { Err(BaseError::LfsPointer { file: file.to_owned() }) } else { Ok(()) }
}
