//! The frames that a URL asks for (PS3.18 10.4.1.1.4).

use std::str::FromStr;

/// Most frames of one request. Viewers ask for one; a list of this many fills the longest URL that servers
/// commonly take, 8 KiB, twice.
pub const MAX_FRAMES_ASKED: usize = 4096;

/// Frame numbers in the order in which they were asked for: at least one, each from 1, none twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameList(Vec<u32>);

/// The text is no list of frames; it says why and repeats nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFrameList {
    /// Something in it is no number from 1.
    #[error("a frame list has numbers from 1 with commas between")]
    NotANumber,
    /// More than [`MAX_FRAMES_ASKED`].
    #[error("more than {MAX_FRAMES_ASKED} frames are asked for at once")]
    TooMany,
    /// A frame stands in it twice.
    #[error("a frame is asked for twice")]
    Twice,
}

impl FrameList {
    /// The numbers as they were asked for.
    pub fn numbers(&self) -> &[u32] {
        &self.0
    }

    /// The numbers ascending, as objects hold them.
    pub fn ascending(&self) -> Vec<u32> {
        let mut numbers = self.0.clone();
        numbers.sort_unstable();
        numbers
    }

    /// Whether the frames are asked for in the order in which objects hold them.
    pub fn is_ascending(&self) -> bool {
        self.0.is_sorted()
    }
}

impl FromStr for FrameList {
    type Err = BadFrameList;

    fn from_str(text: &str) -> Result<Self, BadFrameList> {
        let mut numbers = Vec::new();
        for part in text.split(',') {
            if numbers.len() == MAX_FRAMES_ASKED {
                return Err(BadFrameList::TooMany);
            }
            let part = part.trim_matches(' ');
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            let number = part.parse().ok().filter(|&number: &u32| digits && number > 0);
            numbers.push(number.ok_or(BadFrameList::NotANumber)?);
        }
        let list = Self(numbers);
        let twice = list.ascending().windows(2).any(|pair| pair[0] == pair[1]);
        if twice { Err(BadFrameList::Twice) } else { Ok(list) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_order_and_what_is_none_says_why() {
        let list: FrameList = "3,1, 20".parse().unwrap();
        assert_eq!(list.numbers(), [3, 1, 20]);
        assert_eq!(list.ascending(), [1, 3, 20]);
        assert!(!list.is_ascending() && "1,2".parse::<FrameList>().unwrap().is_ascending());
        for bad in ["", ",", "0", "1,", "1,,2", "x", "-1", "+1", "1.5", "4294967296", "1;2"] {
            assert_eq!(bad.parse::<FrameList>(), Err(BadFrameList::NotANumber), "{bad}");
        }
        assert_eq!("1,2,1".parse::<FrameList>(), Err(BadFrameList::Twice));
        let many: Vec<String> = (1..=MAX_FRAMES_ASKED + 1).map(|n| n.to_string()).collect();
        assert_eq!(many.join(",").parse::<FrameList>(), Err(BadFrameList::TooMany));
        assert!(many[1..].join(",").parse::<FrameList>().is_ok());
    }
}
