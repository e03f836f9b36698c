//! A client of the QEMU Machine Protocol: one JSON object per line, a greeting, then
//! `qmp_capabilities`, then commands. Events that arrive between are passed over.

use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// An open control socket. QEMU serves one client at a time: be brief.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Qmp {
    /// Connects and agrees on capabilities. Every answer must come within `patience`.
    pub fn connect(socket: &Path, patience: Duration) -> io::Result<Qmp> {
        let writer = connect(socket)?;
        writer.set_read_timeout(Some(patience))?;
        writer.set_write_timeout(Some(patience))?;
        let mut qmp = Qmp {
            reader: BufReader::new(writer.try_clone()?),
            writer,
        };
        let greeting = qmp.read()?;
        if greeting.get("QMP").is_none() {
            return Err(odd(&greeting));
        }
        qmp.execute("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Runs a command without arguments; what it returns.
    pub fn execute(&mut self, command: &str) -> io::Result<Value> {
        self.send(&json!({ "execute": command }))
    }

    /// Runs a command with arguments; what it returns.
    pub fn execute_with(&mut self, command: &str, arguments: Value) -> io::Result<Value> {
        self.send(&json!({ "execute": command, "arguments": arguments }))
    }

    fn send(&mut self, request: &Value) -> io::Result<Value> {
        self.writer.write_all(format!("{request}\n").as_bytes())?;
        loop {
            let answer = self.read()?;
            if let Some(error) = answer.get("error") {
                let why = error
                    .get("desc")
                    .and_then(Value::as_str)
                    .unwrap_or("no reason given");
                return Err(io::Error::other(why.to_owned()));
            }
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            if answer.get("event").is_none() {
                return Err(odd(&answer));
            }
        }
    }

    fn read(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

fn odd(value: &Value) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not QMP: {value}"))
}

/// Connects to a socket whose path may be longer than the 107 bytes of `sockaddr_un`: through
/// the open folder.
pub fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = File::open(folder)?;
    UnixStream::connect(
        Path::new("/proc/self/fd")
            .join(folder.as_raw_fd().to_string())
            .join(name),
    )
}
