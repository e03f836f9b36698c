//! Several consoles, one dialogue: whoever presses Enter first answers, the others are told
//! where.

use super::dialogue::{self, DialogueError, Given};
use super::events::{Event, Events};
use super::plain::Plain;
use super::tty::{self, Tty};
use crate::site::answers::Answers;
use crate::site::question::Questions;

/// Holds the dialogue on one of `ttys`. A terminal that goes away in the middle is dropped
/// and the rest wait again; with none left, the reason why the last one went is returned.
pub fn run(
    ttys: &mut Vec<Tty>,
    welcome: &str,
    questions: &Questions,
    answers: &mut Answers,
    events: &Events,
    given: Given<'_>,
) -> Result<(), DialogueError> {
    let mut lost = std::io::Error::other("there is no console");
    loop {
        ttys.retain_mut(|tty| {
            let greeting = format!("\n{welcome}\nPress Enter to begin.\n");
            tty.send(greeting.as_bytes())
                .map_err(|error| lost = error)
                .is_ok()
        });
        for tty in ttys.iter() {
            events.emit(&Event::Dialogue {
                console: tty.name().into(),
            });
        }
        let (owner, enter) = match first_enter(ttys, &mut lost) {
            Some(first) => first,
            None => return Err(DialogueError::Lost(lost)),
        };
        let name = ttys[owner].name().to_string();
        for (place, tty) in ttys.iter_mut().enumerate() {
            if place != owner {
                // One that cannot be told is found gone the next time.
                tty.send(format!("The questions are being answered on {name}.\n").as_bytes())
                    .ok();
            }
        }
        let mut plain = Plain::after(&mut ttys[owner], enter);
        match dialogue::run(&mut plain, questions, answers, given) {
            Err(DialogueError::Lost(error)) => {
                lost = error;
                ttys.remove(owner);
            }
            ended => {
                for tty in ttys.iter() {
                    tty.forget_input();
                }
                return ended;
            }
        }
    }
}

/// The place of the first terminal on which Enter is pressed, and its byte; terminals that are gone are
/// removed on the way.
fn first_enter(ttys: &mut Vec<Tty>, lost: &mut std::io::Error) -> Option<(usize, u8)> {
    while !ttys.is_empty() {
        let ready = match tty::wait(&ttys.iter().collect::<Vec<_>>(), None) {
            Ok(ready) => ready,
            Err(error) => {
                *lost = error;
                return None;
            }
        };
        for place in ready.into_iter().rev() {
            loop {
                match ttys[place].byte_now() {
                    Ok(Some(enter @ (b'\r' | b'\n'))) => return Some((place, enter)),
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => {
                        *lost = error;
                        ttys.remove(place);
                        break;
                    }
                }
            }
        }
    }
    None
}
