//! Lines of JSON between the processes of one machine: command and daemon over the local socket, daemon and worker over
//! pipes.

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use utoipa::ToSchema;

use crate::failure::Failure;

/// Bytes of the longest line that either side reads: a prompt, a status or a list of peers.
pub const LINE_MAX: usize = 4 << 20;

/// One line from the process that does the work. Progress comes any number of times, then one of the others once.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = AnswerLine)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// How far it is.
    Progress(Progress),
    /// The answer. What type it is follows from the request.
    Done(Value),
    /// Why there is no answer.
    Failed(Failure),
}

/// What is reported while a request runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// A new phase begins.
    Phase {
        /// For people.
        text: String,
    },
    /// So much of something is done.
    Count {
        /// What is counted, for people.
        what: String,
        /// In `unit`.
        done: u64,
        /// In `unit`.
        total: u64,
        /// What one of `done` is.
        unit: Unit,
    },
    /// An optimiser step is done.
    Step {
        /// From 1 on.
        step: u64,
        /// Of so many.
        steps: u64,
        /// Nats per labelled token.
        loss: f64,
        /// Of the run so far.
        tokens_per_second: f64,
        /// At the rate so far.
        seconds_left: f64,
    },
    /// The next piece of generated text.
    Text {
        /// Not what was reported before.
        text: String,
    },
}

/// The unit of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Shown as sizes, e.g. `1.5 MiB`.
    Bytes,
    /// Shown as numbers.
    Items,
}

/// Writes one value as a line.
pub async fn write_line<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), value: &T) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line).await?;
    to.flush().await
}

/// Reads one line; `None` at the end of the stream. A line over [`LINE_MAX`] or that is no `T` is an error.
pub async fn read_line<T: DeserializeOwned>(from: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<T>> {
    let mut line = Vec::new();
    let read = from.take(LINE_MAX as u64 + 1).read_until(b'\n', &mut line).await?;
    if read == 0 {
        return Ok(None);
    }
    if line.len() > LINE_MAX {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!("a line of more than {LINE_MAX} bytes"),
        ));
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// For `deserialize_with`: JSON has no NaN and writes `null` for it.
pub fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// The same of a list.
pub fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let numbers: Vec<Option<f64>> = Vec::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|number| number.unwrap_or(f64::NAN)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_read_as_that() {
        #[derive(Serialize, Deserialize)]
        struct Loss(#[serde(deserialize_with = "number")] f64);
        let read = |loss| {
            let text = serde_json::to_string(&Loss(loss)).expect("JSON");
            serde_json::from_str::<Loss>(&text).expect("its own").0
        };
        assert!(read(f64::NAN).is_nan() && read(f64::INFINITY).is_nan());
        assert_eq!(read(0.5), 0.5);
    }

    #[tokio::test]
    async fn lines_are_bounded() {
        let long = vec![b'1'; LINE_MAX + 10];
        assert!(read_line::<Value>(&mut &long[..]).await.is_err());
        assert_eq!(read_line::<u32>(&mut &b"7\n8\n"[..]).await.expect("a number"), Some(7));
        assert_eq!(read_line::<u32>(&mut &b""[..]).await.expect("the end"), None);
    }
}
