//! The shapes of a base are read from the log; a worker reads the base only where they were not noted.

use potluck_protocol::base::Architecture;
use potluck_protocol::id::{BaseId, Digest};
use potluck_protocol::tensor::DType;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Script, Stage};
use crate::app::call::Call;
use crate::app::errors::ObjectError;
use crate::failure::{Failure, Kind};
use crate::worker::answers::Identified;
use crate::worker::proto::Task;

/// A worker that says of every base that it is this one, with the shapes of `tiny`.
fn script(base: BaseId) -> std::sync::Arc<Script> {
    Script::new(move |task| match task {
        Task::Identify { .. } => {
            let (architecture, shapes) = (String::new(), potluck_trainer::tiny::architecture());
            let files = Vec::new();
            Ok(json!(Identified { base, architecture, parameters: 1, dtype: DType::BF16, files, shapes }))
        }
        _ => Err(Failure::new(Kind::Failed, "not in the script")),
    })
}

async fn shapes_of_small(stage: &Stage) -> Result<Architecture, ObjectError> {
    let parts = &stage.node.parts;
    let known = parts.names.known.by_id(&Stage::base()).expect("known");
    let (progress, cancel) = (mpsc::channel(1).0, CancellationToken::new());
    parts.publisher.objects.shapes.of(&Call { progress: &progress, cancel: &cancel }, &known).await
}

#[tokio::test]
async fn a_base_of_an_old_home_is_read_once_for_its_shapes() {
    let script = script(Stage::base());
    let stage = Stage::new(&script).await;
    let tiny = potluck_trainer::tiny::architecture();
    assert_eq!(shapes_of_small(&stage).await.expect("readable"), tiny);
    assert_eq!(script.asked(), ["identify"]);
    assert_eq!(shapes_of_small(&stage).await.expect("noted"), tiny);
    assert!(script.asked().is_empty());
    let noted = stage.store().shapes(&Stage::base()).expect("noted");
    assert_eq!((noted.architecture, noted.dtype), (tiny, DType::BF16));
}

#[tokio::test]
async fn a_base_that_is_another_by_now_gives_no_shapes() {
    let stage = Stage::new(&script(BaseId(Digest::of(b"another")))).await;
    let error = shapes_of_small(&stage).await.expect_err("another base");
    assert!(matches!(error, ObjectError::OurBase(_)) && error.to_string().contains("have changed"), "{error}");
    assert_eq!(stage.store().shapes(&Stage::base()), None);
}
