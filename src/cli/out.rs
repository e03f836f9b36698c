//! Data on standard output, words for people on standard error. Either may be a pipe whose
//! reader went away, or a full disk: `println!` and `eprintln!` panic there.

use miette::miette;
use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes data; a reader that went away (`muster plan … | head`) is not an error.
///
/// # Errors
/// Data that could not be written is lost: a full disk, say.
pub fn write(data: impl AsRef<[u8]>) -> miette::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(data.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(miette!(
            help =
                "what was printed is not complete: make room where it goes, or send it elsewhere",
            "cannot write to standard output: {error}"
        )),
        Ok(()) => Ok(()),
    }
}

/// Says a line on standard error. Whether anybody hears it changes nothing of what is done.
pub fn aside(words: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{words}");
}

/// [`aside`] with the arguments of `eprintln!`.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::out::aside(format_args!($($words)*)) };
}
pub(crate) use say;
