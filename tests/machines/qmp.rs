//! A word with QEMU itself (QMP), where a test needs what no person would ask for.

use crate::site::Site;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

/// Executes a command on the machine of the site; what it returns.
pub fn execute(site: &Site, command: &str, arguments: &Value) -> Value {
    let socket = UnixStream::connect(site.folder().join("office/qmp.sock")).expect("QMP");
    let mut answers = BufReader::new(socket.try_clone().expect("another handle")).lines();
    let mut ask = |command: &str, arguments: &Value| {
        let question = json!({"execute": command, "arguments": arguments});
        writeln!(&socket, "{question}").expect("QMP takes it");
        loop {
            let line = answers.next().expect("an answer").expect("readable");
            let answer: Value = serde_json::from_str(&line).expect("JSON");
            assert!(answer["error"].is_null(), "{command}: {answer}");
            if !answer["return"].is_null() {
                return answer["return"].clone();
            }
        }
    };
    ask("qmp_capabilities", &json!({}));
    ask(command, arguments)
}
