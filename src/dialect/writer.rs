//! What waits to be written on one stream: one write at a time, bounded, with a pause where the
//! reader takes each read for a message of its own.

use std::collections::VecDeque;

use crate::model::Millis;

/// How a reader wants its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Messages that fit into so many bytes together may go in one write; 0: each in its own.
    pub gather: usize,
    /// They do once more than so many bytes wait.
    pub backlog: usize,
    /// So long between two writes, in milliseconds.
    pub pause: Millis,
    /// Bytes that may wait.
    pub max: usize,
}

/// See the module.
pub struct Writer {
    pace: Pace,
    queue: VecDeque<(Vec<u8>, Option<u64>)>,
    bytes: usize,
    /// The tags of the write under way.
    writing: Option<Vec<u64>>,
    not_before: Millis,
}

/// More waits than may: its reader takes nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Writer {
    /// Nothing waits yet.
    pub fn new(pace: Pace) -> Writer {
        Writer { pace, queue: VecDeque::new(), bytes: 0, writing: None, not_before: 0 }
    }

    /// Another pace, once it is known who reads.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// One message more. Its tag, if it has one, comes out of [`Writer::wrote`].
    ///
    /// # Errors
    /// More would wait than may: nothing was taken.
    pub fn push(&mut self, message: Vec<u8>, tag: Option<u64>) -> Result<(), Full> {
        if self.bytes + message.len() > self.pace.max {
            return Err(Full);
        }
        self.bytes += message.len();
        self.queue.push_back((message, tag));
        Ok(())
    }

    /// What to write now, if anything.
    pub fn next(&mut self, now: Millis) -> Option<Vec<u8>> {
        if self.writing.is_some() || now < self.not_before {
            return None;
        }
        let (mut bytes, tag) = self.queue.pop_front()?;
        let mut tags: Vec<u64> = tag.into_iter().collect();
        let gather = if self.bytes > self.pace.backlog { self.pace.gather } else { 0 };
        while let Some((more, tag)) = self.queue.front() {
            if bytes.len() + more.len() > gather {
                break;
            }
            bytes.extend_from_slice(more);
            tags.extend(*tag);
            self.queue.pop_front();
        }
        self.bytes -= bytes.len();
        self.writing = Some(tags);
        Some(bytes)
    }

    /// The last write is done; the tags that left with it.
    pub fn wrote(&mut self, now: Millis) -> Vec<u64> {
        self.not_before = now + self.pace.pause;
        self.writing.take().unwrap_or_default()
    }

    /// Nothing waits and nothing is being written.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.writing.is_none()
    }

    /// The tags of all that has not left.
    pub fn unsent(&mut self) -> Vec<u64> {
        let mut tags = self.writing.take().unwrap_or_default();
        tags.extend(self.queue.drain(..).filter_map(|(_, tag)| tag));
        self.bytes = 0;
        tags
    }

    /// All that waits, in one: for a last write before the stream is closed.
    pub fn rest(&mut self) -> Vec<u8> {
        self.bytes = 0;
        self.queue.drain(..).flat_map(|(bytes, _)| bytes).collect()
    }

    /// When [`Writer::next`] may have something.
    pub fn wake_at(&self) -> Option<Millis> {
        (self.writing.is_none() && !self.queue.is_empty()).then_some(self.not_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { gather: 8, backlog: 9, pause: 50, max: 20 };

    #[test]
    fn one_write_at_a_time_gathers_what_fits_and_pauses() {
        let mut writer = Writer::new(PACE);
        for (n, text) in ["aaa", "bbb", "cccc"].iter().enumerate() {
            writer.push(text.as_bytes().to_vec(), Some(n as u64)).unwrap();
        }
        assert_eq!(writer.next(100), Some(b"aaabbb".to_vec()));
        assert_eq!(writer.next(100), None, "one at a time");
        assert_eq!(writer.wrote(110), [0, 1]);
        assert_eq!(writer.next(159), None, "the pause");
        assert_eq!(writer.wake_at(), Some(160));
        assert_eq!(writer.next(160), Some(b"cccc".to_vec()));
        assert_eq!(writer.unsent(), [2]);
        assert!(writer.is_idle());
    }

    #[test]
    fn without_a_backlog_each_message_has_its_own_write() {
        let mut writer = Writer::new(PACE);
        writer.push(b"aaa".to_vec(), None).unwrap();
        writer.push(b"bbb".to_vec(), None).unwrap();
        assert_eq!(writer.next(0), Some(b"aaa".to_vec()));
        assert_eq!(writer.rest(), b"bbb");
    }

    #[test]
    fn one_byte_past_what_may_wait_is_refused() {
        let mut writer = Writer::new(PACE);
        writer.push(vec![0; 20], None).unwrap();
        assert_eq!(writer.push(vec![0], None), Err(Full));
        assert!(writer.next(0).is_some());
        assert_eq!(writer.push(vec![0; 20], None), Ok(()));
    }
}
