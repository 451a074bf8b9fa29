//! Landlock: which files, ports and processes a thread may use.

use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

use super::{Access, fail};
use crate::failure::Outcome;

/// The latest version that this program was tested with. Of a kernel that has less, that much is used.
const VERSION: ABI = ABI::V7;

/// Read by the worker about itself and the machine: its memory, the processors, the limits of its group. `exe` is for the
/// names of functions in a backtrace. Libraries were loaded before, and random numbers come by a system call.
const SYSTEM: [&str; 6] =
    ["/proc/self", "/proc/self/exe", "/proc/meminfo", "/proc/cpuinfo", "/sys/devices/system/cpu", "/sys/fs/cgroup"];

/// Files that stay open. A rule belongs to an inode: where a file system makes another one once a name is forgotten, as
/// `/proc` does, the rule would no longer be found. What is open is not forgotten. A recipe has more folders than that;
/// they lie on disks, where an inode stays the same.
const KEPT_MAX: usize = 256;

/// What the kernel holds a thread to.
pub struct Files {
    /// Of landlock, if it holds it to anything.
    pub version: Option<String>,
    _kept: Vec<PathFd>,
}

/// Lets this thread touch what is said, and nothing else: no other file, no TCP port, no process but its own.
pub fn confine(access: &Access) -> Outcome<Files> {
    let mut rules = Rules {
        kept: Vec::new(),
        ruleset: create(!(access.write.is_empty() && access.place.is_empty())).map_err(fail)?,
    };
    for path in SYSTEM {
        rules = rules.allow(Path::new(path), reading()).map_err(fail)?;
    }
    for path in &access.read {
        rules = rules.allow(path, reading()).map_err(fail)?;
    }
    for path in &access.write {
        rules = rules.allow(path, reading() | writing()).map_err(fail)?;
    }
    for path in &access.place {
        rules = rules.allow(path, placing()).map_err(fail)?;
    }
    let status = rules.ruleset.restrict_self().map_err(fail)?;
    let version = match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => None,
        (_, LandlockStatus::Available { effective_abi, .. }) => Some(effective_abi.to_string()),
        (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => None,
    };
    Ok(Files { version, _kept: rules.kept })
}

fn reading() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{ReadFile | ReadDir})
}

/// Files and folders: no links, pipes, sockets or devices.
fn writing() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{
        WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
    })
}

/// A folder is moved there, which must not be there yet, and the name is made durable. Nothing there can be removed or read.
fn placing() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{ReadDir | MakeDir | Refer})
}

/// All that is refused unless a rule allows it. The first version of landlock (Linux 5.13 to 5.18) moves nothing from one
/// folder to another, which is how a folder appears whole: with it, whoever writes is not confined.
fn create(writes: bool) -> Result<RulesetCreated, RulesetError> {
    let needed = if writes { CompatLevel::SoftRequirement } else { CompatLevel::BestEffort };
    Ruleset::default()
        .set_compatibility(needed)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(VERSION))?
        .handle_access(AccessNet::from_all(VERSION))?
        .scope(Scope::from_all(VERSION))?
        .create()
}

struct Rules {
    kept: Vec<PathFd>,
    ruleset: RulesetCreated,
}

impl Rules {
    /// A folder with all that is in it, or a file, through links. What cannot be opened for this, which needs no right but
    /// to find it, the job cannot open either: there is nothing to allow, and the job says why.
    fn allow(self, path: &Path, access: BitFlags<AccessFs>) -> Result<Self, RulesetError> {
        let Self { mut kept, ruleset } = self;
        let Ok(opened) = PathFd::new(path) else { return Ok(Self { kept, ruleset }) };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(VERSION) };
        let ruleset = ruleset.add_rule(PathBeneath::new(&opened, access))?;
        if kept.len() < KEPT_MAX {
            kept.push(opened);
        }
        Ok(Self { kept, ruleset })
    }
}
