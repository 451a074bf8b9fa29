//! Seccomp: system calls that no job makes, and that would lead out of what landlock holds.

use std::io::ErrorKind;
use std::path::Path;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use super::fail;
use crate::failure::Outcome;

/// Is there if the kernel has filters (since Linux 4.14).
const ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";

/// They fail with `EPERM`. Everything else stays allowed: a list of what the standard library, the allocator and the
/// threads of today's C libraries call would break with the next one.
const REFUSED: [libc::c_long; 15] = [
    // No network and no local socket, the daemon's own among them. Pairs of connected sockets are another call.
    libc::SYS_socket,
    // A second way to nearly every call, which filters do not see.
    libc::SYS_io_uring_setup,
    // No other program.
    libc::SYS_execve,
    libc::SYS_execveat,
    // No other process's memory or files.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    // The user's keys lie in the kernel, not in files.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // No rights of its own, and large parts of the kernel that nothing here needs.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
];

/// Refuses these calls to this thread and those that it starts; whether the kernel can.
pub fn confine() -> Outcome<bool> {
    let program = filter().map_err(fail)?;
    match seccompiler::apply_filter(&program) {
        Ok(()) => Ok(true),
        Err(seccompiler::Error::Seccomp(error)) if is_absent(error.kind()) => Ok(false),
        Err(error) => Err(fail(error)),
    }
}

/// A kernel without filters answers so; one that has them, and refuses this one, must not look like it.
fn is_absent(error: ErrorKind) -> bool {
    matches!(error, ErrorKind::Unsupported | ErrorKind::InvalidInput) && !Path::new(ACTIONS).exists()
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let rules = REFUSED.into_iter().flat_map(numbers).map(|call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture())?.try_into()
}

/// The numbers of a call. Kernels that still know x32, the 32-bit programs in 64-bit mode, take most calls by another one.
#[cfg(target_arch = "x86_64")]
fn numbers(call: libc::c_long) -> [libc::c_long; 2] {
    [call, call | 0x4000_0000]
}

#[cfg(target_arch = "aarch64")]
fn numbers(call: libc::c_long) -> [libc::c_long; 1] {
    [call]
}

#[cfg(target_arch = "x86_64")]
fn architecture() -> TargetArch {
    TargetArch::x86_64
}

#[cfg(target_arch = "aarch64")]
fn architecture() -> TargetArch {
    TargetArch::aarch64
}
