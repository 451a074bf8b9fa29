//! The shapes of a base are read from the log; a worker reads the head of its files only where they were not noted.

use potluck_protocol::base::Architecture;
use potluck_protocol::tensor::DType;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Script, Stage};
use crate::app::call::{Call, ChosenBy};
use crate::app::errors::ObjectError;
use crate::failure::{Failure, Kind};
use crate::store::{BaseFile, BaseRecord};
use crate::worker::answers::Described;
use crate::worker::proto::Task;

/// A worker that says of every base that it has the shapes of `tiny`.
fn script() -> std::sync::Arc<Script> {
    Script::new(|task| match task {
        Task::Describe { .. } => {
            Ok(json!(Described { shapes: potluck_trainer::tiny::architecture(), dtype: DType::BF16 }))
        }
        _ => Err(Failure::new(Kind::Failed, "not in the script")),
    })
}

async fn shapes_of_small(stage: &Stage) -> Result<Architecture, ObjectError> {
    let parts = &stage.node.parts;
    let known = parts.names.known.by_id(&Stage::base()).expect("known");
    let (progress, cancel) = (mpsc::channel(1).0, CancellationToken::new());
    parts
        .publisher
        .objects
        .shapes
        .of(&Call { progress: &progress, cancel: &cancel, chosen_by: ChosenBy::Us }, &known)
        .await
}

#[tokio::test]
async fn the_head_of_a_base_of_an_old_home_is_read_once_for_its_shapes() {
    let script = script();
    let stage = Stage::new(&script).await;
    let tiny = potluck_trainer::tiny::architecture();
    assert_eq!(shapes_of_small(&stage).await.expect("readable"), tiny);
    assert_eq!(script.asked(), ["describe"]);
    assert_eq!(shapes_of_small(&stage).await.expect("noted"), tiny);
    assert!(script.asked().is_empty());
    let noted = stage.store().shapes(&Stage::base()).expect("noted");
    assert_eq!((noted.architecture, noted.dtype), (tiny, DType::BF16));
}

/// Its files may be another base by now: they are believed for as long as they are looked at.
#[tokio::test]
async fn what_files_say_that_have_changed_is_not_noted() {
    let script = script();
    let stage = Stage::new(&script).await;
    let record = stage.store().base(&Stage::base()).expect("known");
    let file = BaseFile { path: "model.safetensors".to_owned(), len: 1, mtime_nanos: 1 };
    stage.store().add_base(BaseRecord { files: vec![file], ..record }).expect("room");
    assert_eq!(shapes_of_small(&stage).await.expect("readable"), potluck_trainer::tiny::architecture());
    assert_eq!(script.asked(), ["describe"]);
    assert_eq!(stage.store().shapes(&Stage::base()), None);
}
