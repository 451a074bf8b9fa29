//! multistream-select 1.0: lines that end in `\n`, each after its length as a varint. Both sides say what they speak,
//! then one proposes and the other echoes, or says `na`.

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Outcome, rule};

const HELLO: &str = "/multistream/1.0.0";

/// Proposes one protocol.
pub async fn propose(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), protocol: &str) -> Outcome<()> {
    write(stream, &[HELLO, protocol]).await?;
    rule(read(stream).await? == HELLO, "the other side speaks multistream-select")?;
    let answer = read(stream).await?;
    rule(answer == protocol, &format!("the other side does not speak {protocol}: {answer}"))
}

/// Agrees to the first proposal among those that are spoken here.
pub async fn agree(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), spoken: &[String]) -> Outcome<String> {
    rule(read(stream).await? == HELLO, "the other side speaks multistream-select")?;
    write(stream, &[HELLO]).await?;
    loop {
        let proposed = read(stream).await?;
        if spoken.contains(&proposed) {
            write(stream, &[&proposed]).await?;
            return Ok(proposed);
        }
        write(stream, &["na"]).await?;
    }
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), lines: &[&str]) -> Outcome<()> {
    let mut bytes = Vec::new();
    for line in lines {
        // No name here is longer than a varint of one byte can say, or by one more.
        let len = line.len() + 1;
        match u8::try_from(len) {
            Ok(len) if len < 128 => bytes.push(len),
            _ => bytes.extend([(len & 127) as u8 | 128, (len >> 7) as u8]),
        }
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
    }
    stream.write_all(&bytes).await?;
    Ok(stream.flush().await?)
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Outcome<String> {
    let (mut len, mut byte) = (0, [0]);
    for shift in [0, 7] {
        stream.read_exact(&mut byte).await?;
        len |= usize::from(byte[0] & 127) << shift;
        if byte[0] < 128 {
            break;
        }
    }
    let mut line = vec![0; len];
    stream.read_exact(&mut line).await?;
    rule(line.pop() == Some(b'\n'), "a line ends")?;
    Ok(String::from_utf8(line)?)
}
