//! Data on standard output.

use miette::IntoDiagnostic;
use std::io::{ErrorKind, Write};

/// Writes data; a reader that went away (`muster plan … | head`) is not an error.
pub fn write(data: impl AsRef<[u8]>) -> miette::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(data.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.into_diagnostic(),
    }
}
