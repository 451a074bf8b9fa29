//! Which files a job reads and where it writes: all that its process may touch once it is confined.
//!
//! It follows from the job alone. Names are resolved here, before the process is confined: nothing that a stranger wrote
//! has been opened by then, only names in folders have been read.

use std::path::{Path, PathBuf};

use super::proto::{AdapterSource, BaseSource, BenchMergeTask, BenchShape, BenchTokens, BenchWork, Task, TrainTask};
use super::stopping::run_folder;
use crate::config;

/// Entries of a folder that are looked at for links. Folders of models and adapters have some dozens.
const ENTRIES_MAX: usize = 10_000;
/// Folders within a folder that are looked at: the hub's cache has links in `additional_chat_templates` as well.
const DEPTH: usize = 1;

/// What a job may touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Files, and folders with all that is in them.
    pub read: Vec<PathBuf>,
    /// Folders in which it makes, writes, reads and removes files.
    pub write: Vec<PathBuf>,
    /// Folders into which it moves a folder that it has made elsewhere, and in which it makes and opens no file.
    pub place: Vec<PathBuf>,
}

impl Access {
    /// What a task needs. One that is new has to say it here.
    pub fn of(task: &Task) -> Self {
        let mut access = Self::default();
        match task {
            Task::Identify { base } | Task::Describe { base } => access.base(base),
            Task::Train(task) => access.train(task),
            Task::Eval { base, adapters, data } => access.base(base).adapters(adapters).reads(data),
            Task::Generate { base, adapters, .. } => access.base(base).adapters(adapters),
            Task::CheckData { base, data, .. } => access.base(base).reads(data),
            Task::Merge(task) => {
                let folders = task.adapters.iter().map(|source| &source.folder);
                access.base(&task.base).all(folders.chain(&task.weights_by)).makes(&task.out)
            }
            Task::Fold { base, folders, out, .. } => {
                access.base(base).all(folders);
                out.iter().fold(&mut access, |access, out| access.makes(out))
            }
            Task::Choose(task) => {
                let proposed = task.proposed.iter().map(|proposed| &proposed.adapter);
                let folders = task.held.iter().chain(proposed).map(|source| &source.folder);
                access.base(&task.genesis).all(folders.chain(task.suites.iter().map(|suite| &suite.rows)))
            }
            Task::CompareView { view, original } => access.base(view).base(original),
            Task::Normalise { base, folder, out, .. } => access.base(base).reads(folder).makes(out),
            Task::Bench { base, work } => access.base(base).all(tokens(work)),
            Task::BenchMerge(task) => access.bench_merge(task),
        };
        access
    }

    fn train(&mut self, task: &TrainTask) -> &mut Self {
        let rows = [&task.data].into_iter().chain(&task.held_out).chain(&task.rehearsal);
        self.base(&task.base).all(rows.chain(&task.from));
        // An empty folder is filled from within; an adapter is one of an earlier run that was killed at its end.
        if let Ok(there) = std::fs::canonicalize(&task.out) {
            self.writes(there);
        }
        self.writes(run_folder(&task.out));
        self.place.push(beside(&task.out));
        self
    }

    fn bench_merge(&mut self, task: &BenchMergeTask) -> &mut Self {
        match &task.shape {
            BenchShape::Base(base) => self.base(base),
            BenchShape::Config(file) => self.reads(file),
        };
        let root = task.settings.folder.clone().unwrap_or_else(config::temporary);
        self.all(&task.settings.from).writes(root)
    }

    fn base(&mut self, base: &BaseSource) -> &mut Self {
        match base {
            BaseSource::Tiny => self,
            BaseSource::Path(path) => self.reads(path),
        }
    }

    fn adapters(&mut self, adapters: &[AdapterSource]) -> &mut Self {
        self.all(adapters.iter().map(|source| &source.folder))
    }

    fn all<'a>(&mut self, paths: impl IntoIterator<Item = &'a PathBuf>) -> &mut Self {
        paths.into_iter().fold(self, |access, path| access.reads(path))
    }

    /// A file or folder, through links, and the files to which links within the folder lead.
    fn reads(&mut self, path: &Path) -> &mut Self {
        self.read.push(path.to_owned());
        find_links(path, DEPTH, &mut self.read);
        self
    }

    /// A folder that is to come: what it is made of lies beside it until it is whole. One that is there is filled from
    /// within.
    fn makes(&mut self, out: &Path) -> &mut Self {
        let folder = std::fs::canonicalize(out).unwrap_or_else(|_| beside(out));
        self.writes(folder)
    }

    fn writes(&mut self, folder: PathBuf) -> &mut Self {
        self.write.push(folder);
        self
    }
}

/// The folder in which a path lies, or is made: the nearest one that is there.
fn beside(path: &Path) -> PathBuf {
    let above =
        path.ancestors().skip(1).map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    above.into_iter().find(|folder| folder.is_dir()).unwrap_or(Path::new(".")).to_owned()
}

fn tokens(work: &BenchWork) -> Option<&PathBuf> {
    match work {
        BenchWork::Step(settings) => match &settings.tokens {
            BenchTokens::Hashed { .. } => None,
            BenchTokens::File(path) => Some(path),
        },
        BenchWork::Generate(settings) => settings.tokens.as_ref(),
    }
}

/// Links to files, such as those of the hub's cache into its blobs. A link to a folder is not followed: it could lead to
/// everything. What cannot be read here cannot be read by the job either, which says so.
fn find_links(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.take(ENTRIES_MAX).flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        if kind.is_symlink() && path.is_file() {
            found.push(path);
        } else if kind.is_dir() && depth > 0 {
            find_links(&path, depth - 1, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{BaseId, Digest};
    use potluck_trainer::merge::Method;

    use super::*;
    use crate::worker::proto::{MergeSource, MergeTask, TrainSettings};

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn a_job_reads_what_it_names_and_writes_where_its_result_goes() {
        let root = tempfile::tempdir().expect("a folder");
        let out = root.path().join("deep/merged");
        let source = |name: &str| MergeSource { folder: name.into(), weight: potluck_protocol::recipe::Weight::ONE };
        let merge = Task::Merge(Box::new(MergeTask {
            base: BaseSource::Path("base".into()),
            adapters: vec![source("one"), source("other")],
            method: Method::Sum,
            weights_by: Some("rows.jsonl".into()),
            out: out.clone(),
            of: None,
        }));
        let access = Access::of(&merge);
        assert_eq!(access.read, paths(&["base", "one", "other", "rows.jsonl"]));
        assert_eq!(access.write, [root.path()], "the nearest folder that is there");
        std::fs::create_dir_all(&out).expect("writable");
        let real = std::fs::canonicalize(&out).expect("there");
        assert_eq!(Access::of(&merge).write, [real], "an empty folder is filled from within");
        let generate = Task::Generate {
            base: BaseSource::Tiny,
            adapters: Vec::new(),
            prompt: String::new(),
            chat: false,
            max_new_tokens: 1,
        };
        assert_eq!(Access::of(&generate), Access::default());
    }

    #[test]
    fn a_run_writes_in_its_folder_and_makes_no_file_beside_its_adapter() {
        let root = tempfile::tempdir().expect("a folder");
        let task = TrainTask {
            base: BaseSource::Tiny,
            base_name: "tiny".to_owned(),
            base_id: BaseId(Digest::of(b"any")),
            data: "rows.jsonl".into(),
            held_out: Some("held.jsonl".into()),
            rehearsal: Some("prompts.jsonl".into()),
            from: Some("from".into()),
            out: root.path().join("adapter"),
            settings: TrainSettings::default(),
        };
        let access = Access::of(&Task::Train(Box::new(task)));
        assert_eq!(access.read, paths(&["rows.jsonl", "held.jsonl", "prompts.jsonl", "from"]));
        assert_eq!((access.write, access.place), (vec![root.path().join("adapter.run")], vec![root.path().to_owned()]));
    }

    #[cfg(unix)]
    #[test]
    fn links_to_files_are_followed_and_those_to_folders_are_not() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        for folder in ["blobs", "base/deep/deeper"] {
            std::fs::create_dir_all(at(folder)).expect("writable");
        }
        std::fs::write(at("blobs/a"), b"x").expect("writable");
        for (to, link) in [("blobs/a", "base/file"), ("blobs", "base/folder"), ("blobs/a", "base/deep/file")] {
            symlink(at(to), at(link)).expect("writable");
        }
        symlink(at("blobs/a"), at("base/deep/deeper/file")).expect("writable");
        symlink(at("nowhere"), at("base/none")).expect("writable");
        let mut read = Access::of(&Task::Describe { base: BaseSource::Path(at("base")) }).read;
        read.sort();
        assert_eq!(read, [at("base"), at("base/deep/file"), at("base/file")]);
    }
}
