//! Messages on a connection: their length in four bytes, the high one first, and JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a message from somebody who is not known yet.
pub const STRANGER: usize = 16 << 10;
/// Bytes of a message from somebody who is.
pub const KNOWN: usize = 16 << 20;

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection has ended between two messages.
    #[error("the other side has hung up")]
    Over,
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// More than is taken.
    #[error("a message of {0} bytes is longer than is taken here")]
    Long(usize),
    /// Not what was expected.
    #[error("a message that cannot be read: {0}")]
    Garbled(serde_json::Error),
}

/// Reads one message of at most `limit` bytes.
pub async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> Result<T, FrameError> {
    let mut length = [0; 4];
    if let Err(error) = from.read_exact(&mut length).await {
        return Err(match error.kind() {
            io::ErrorKind::UnexpectedEof => FrameError::Over,
            _ => FrameError::Io(error),
        });
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > limit {
        return Err(FrameError::Long(length));
    }
    // What is announced is not believed before it is there.
    let mut bytes = Vec::with_capacity(length.min(STRANGER));
    let taken = from.take(length as u64).read_to_end(&mut bytes).await?;
    if taken < length {
        return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    serde_json::from_slice(&bytes).map_err(FrameError::Garbled)
}

/// Writes one message.
pub async fn write<T: Serialize>(
    to: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), FrameError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message).map_err(FrameError::Garbled)?;
    let length = u32::try_from(bytes.len() - 4).map_err(|_| FrameError::Long(bytes.len()))?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    to.write_all(&bytes).await?;
    to.flush().await?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.build().unwrap().block_on(work)
    }

    #[test]
    fn what_is_written_is_read() {
        let read = run(async {
            let mut bytes = Vec::new();
            write(&mut bytes, &vec!["one", "two"]).await.unwrap();
            write(&mut bytes, &vec!["three"]).await.unwrap();
            let mut from = &bytes[..];
            let first: Vec<String> = read(&mut from, 100).await.unwrap();
            let second: Vec<String> = read(&mut from, 100).await.unwrap();
            let end = read::<Vec<String>>(&mut from, 100).await.unwrap_err();
            (first, second, end.to_string())
        });
        assert_eq!(read.0, ["one", "two"]);
        assert_eq!(read.1, ["three"]);
        assert_eq!(read.2, "the other side has hung up");
    }

    #[test]
    fn what_is_too_long_cut_off_or_no_message_is_refused() {
        let told = |bytes: &[u8]| {
            let mut from = bytes;
            run(read::<Vec<String>>(&mut from, 100))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            told(&[0xff; 9]),
            "a message of 4294967295 bytes is longer than is taken here"
        );
        assert_eq!(told(&[0, 0, 0, 9, b'[']), "unexpected end of file");
        assert!(told(&[0, 0, 0, 2, b'{', b'}']).starts_with("a message that cannot be read: "));
    }
}
