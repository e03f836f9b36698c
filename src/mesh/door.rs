//! Whether somebody may join now, and with which code. Pure: the time is told.
//!
//! However many exchanges run at once, each code is good for one wrong guess: an exchange
//! belongs to the code that it began with, and ends with it.

use super::code::{Code, Token};
use crate::site::secrets::SecretError;
use std::time::{Duration, Instant};

/// How long a code lives.
pub const LIFE: Duration = Duration::from_secs(15 * 60);
/// How many wrong guesses close the door.
pub const GUESSES: u32 = 5;

/// What a member says it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Knows {
    /// The three words on the lead's screen.
    Code,
    /// The token in the answers of both.
    Token,
}

/// A guess that is being made: with which code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guess {
    knows: Knows,
    number: u64,
}

/// Why nobody is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shut {
    /// Too many wrong guesses: closed until somebody opens it on the lead.
    Closed,
    /// The code has been burnt or has grown too old since the exchange began.
    Stale,
    /// Another lead is on the wire, and nobody has said which of them is to be joined.
    Held,
    /// This site has no token.
    NoToken,
}

/// The door of a lead.
#[derive(Debug)]
pub struct Door {
    code: Code,
    drawn: Instant,
    /// Counts the codes.
    number: u64,
    wrong: u32,
    /// Whether nobody is let in by a code until a person says so.
    held: bool,
    token: Option<Token>,
}

impl Door {
    /// Opens it.
    pub fn open(token: Option<Token>, now: Instant) -> Result<Door, SecretError> {
        Ok(Door {
            code: Code::draw()?,
            drawn: now,
            number: 0,
            wrong: 0,
            held: false,
            token,
        })
    }

    /// The code to show; nothing while the door is closed. One that is too old is replaced.
    pub fn code(&mut self, now: Instant) -> Result<Option<&Code>, SecretError> {
        if self.wrong >= GUESSES || self.held {
            return Ok(None);
        }
        if now.duration_since(self.drawn) >= LIFE {
            self.draw(now)?;
        }
        Ok(Some(&self.code))
    }

    /// How long the code that is shown still lives.
    pub fn lives(&self, now: Instant) -> Duration {
        LIFE.saturating_sub(now.duration_since(self.drawn))
    }

    /// How many wrong guesses are left.
    pub fn left(&self) -> u32 {
        GUESSES - self.wrong
    }

    /// A guess begins: what both sides must know.
    pub fn begin(
        &mut self,
        knows: Knows,
        now: Instant,
    ) -> Result<Result<(Guess, Vec<u8>), Shut>, SecretError> {
        let secret = match knows {
            Knows::Token => self.token.as_ref().map(Token::secret).ok_or(Shut::NoToken),
            Knows::Code if self.held => Err(Shut::Held),
            Knows::Code => self.code(now)?.map(Code::secret).ok_or(Shut::Closed),
        };
        let guess = Guess {
            knows,
            number: self.number,
        };
        Ok(secret.map(|secret| (guess, secret)))
    }

    /// Whether a guess that turns out right still counts.
    pub fn counts(&self, guess: Guess, now: Instant) -> Result<(), Shut> {
        match guess.knows {
            // Nobody guesses 256 bits.
            Knows::Token => Ok(()),
            Knows::Code if self.held => Err(Shut::Held),
            Knows::Code if self.wrong >= GUESSES => Err(Shut::Closed),
            Knows::Code if guess.number != self.number => Err(Shut::Stale),
            Knows::Code if now.duration_since(self.drawn) >= LIFE => Err(Shut::Stale),
            Knows::Code => Ok(()),
        }
    }

    /// A guess was wrong: its code is burnt. One whose code is burnt already burns no other.
    pub fn wrong(&mut self, guess: Guess, now: Instant) -> Result<(), SecretError> {
        if guess.knows == Knows::Code && guess.number == self.number && self.wrong < GUESSES {
            self.wrong += 1;
            self.draw(now)?;
        }
        Ok(())
    }

    /// Lets nobody in by a code until somebody at the lead opens it.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Whether it waits for that.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Somebody at the lead opens it again.
    pub fn reopen(&mut self, now: Instant) -> Result<(), SecretError> {
        self.wrong = 0;
        self.held = false;
        self.draw(now)
    }

    fn draw(&mut self, now: Instant) -> Result<(), SecretError> {
        self.code = Code::draw()?;
        self.drawn = now;
        self.number += 1;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn guess(door: &mut Door, now: Instant) -> (Guess, Vec<u8>) {
        door.begin(Knows::Code, now).unwrap().unwrap()
    }

    #[test]
    fn a_wrong_guess_burns_the_code_and_five_close_the_door() {
        let now = Instant::now();
        let mut door = Door::open(None, now).unwrap();
        let mut seen = Vec::new();
        for round in 0..GUESSES {
            assert_eq!(door.left(), GUESSES - round);
            let (guess, secret) = guess(&mut door, now);
            assert_eq!(door.counts(guess, now), Ok(()));
            assert!(!seen.contains(&secret), "a burnt code is not shown again");
            seen.push(secret);
            door.wrong(guess, now).unwrap();
            assert!(door.counts(guess, now).is_err());
        }
        assert_eq!(door.code(now).unwrap(), None);
        assert_eq!(door.begin(Knows::Code, now).unwrap(), Err(Shut::Closed));
        door.reopen(now).unwrap();
        let (guess, secret) = guess(&mut door, now);
        assert_eq!(door.counts(guess, now), Ok(()));
        assert!(!seen.contains(&secret));
        assert_eq!(door.left(), GUESSES);
    }

    #[test]
    fn many_guesses_at_once_are_one() {
        let now = Instant::now();
        let mut door = Door::open(None, now).unwrap();
        let guesses: Vec<Guess> = (0..100).map(|_| guess(&mut door, now).0).collect();
        door.wrong(guesses[0], now).unwrap();
        for guess in &guesses[1..] {
            assert_eq!(door.counts(*guess, now), Err(Shut::Stale));
            door.wrong(*guess, now).unwrap();
        }
        assert_eq!(door.left(), GUESSES - 1, "they burnt one code");
    }

    #[test]
    fn a_code_lives_a_quarter_of_an_hour() {
        let now = Instant::now();
        let mut door = Door::open(None, now).unwrap();
        let first = door.code(now).unwrap().unwrap().clone();
        let almost = now + LIFE - Duration::from_secs(1);
        assert_eq!(door.code(almost).unwrap(), Some(&first));
        let (begun, _) = guess(&mut door, almost);
        assert_eq!(door.counts(begun, now + LIFE), Err(Shut::Stale));
        assert_ne!(door.code(now + LIFE).unwrap(), Some(&first));
        assert_eq!(door.left(), GUESSES, "age is no guess");
    }

    #[test]
    fn a_door_that_is_held_shows_no_code_and_takes_none_until_it_is_opened() {
        let now = Instant::now();
        let mut door = Door::open(Some(Token::draw().unwrap()), now).unwrap();
        let (begun, _) = guess(&mut door, now);
        door.hold();
        assert!(door.is_held());
        assert_eq!(door.code(now).unwrap(), None);
        assert_eq!(door.begin(Knows::Code, now).unwrap(), Err(Shut::Held));
        assert_eq!(door.counts(begun, now), Err(Shut::Held));
        // A hypervisor has put the token where it belongs.
        assert!(door.begin(Knows::Token, now).unwrap().is_ok());
        door.reopen(now).unwrap();
        assert!(!door.is_held());
        assert!(door.code(now).unwrap().is_some());
    }

    #[test]
    fn a_token_is_neither_burnt_nor_shut_out() {
        let now = Instant::now();
        let token = Token::draw().unwrap();
        let mut door = Door::open(Some(token.clone()), now).unwrap();
        for _ in 0..GUESSES {
            let (guess, _) = guess(&mut door, now);
            door.wrong(guess, now).unwrap();
        }
        let (guess, secret) = door.begin(Knows::Token, now).unwrap().unwrap();
        assert_eq!(secret, token.secret());
        door.wrong(guess, now).unwrap();
        assert_eq!(door.counts(guess, now + LIFE * 9), Ok(()));
        let mut none = Door::open(None, now).unwrap();
        assert_eq!(none.begin(Knows::Token, now).unwrap(), Err(Shut::NoToken));
    }
}
