//! Numbers, texts and lists as bytes: big-endian, lengths before what they count.

/// Bytes that do not hold what they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadWire {
    /// They end before the field does.
    Truncated,
    /// A text is no UTF-8.
    NotText,
    /// A field has a value that it cannot have.
    Value(&'static str),
}

impl std::fmt::Display for BadWire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadWire::Truncated => f.write_str("it ends too early"),
            BadWire::NotText => f.write_str("a text in it is no UTF-8"),
            BadWire::Value(what) => write!(f, "its {what} cannot be"),
        }
    }
}

/// Writes fields one after the other.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// One byte.
    pub fn u8(mut self, n: u8) -> Writer {
        self.0.push(n);
        self
    }

    /// Two bytes.
    pub fn u16(mut self, n: u16) -> Writer {
        self.0.extend(n.to_be_bytes());
        self
    }

    /// Four bytes.
    pub fn u32(mut self, n: u32) -> Writer {
        self.0.extend(n.to_be_bytes());
        self
    }

    /// Eight bytes.
    pub fn u64(mut self, n: u64) -> Writer {
        self.0.extend(n.to_be_bytes());
        self
    }

    /// Bytes whose count both ends know, or that go to the end.
    pub fn raw(mut self, bytes: &[u8]) -> Writer {
        self.0.extend(bytes);
        self
    }

    /// A text of at most 255 bytes, cut between characters if longer.
    pub fn short(self, text: &str) -> Writer {
        let text = cut(text, u8::MAX.into());
        self.u8(u8::try_from(text.len()).unwrap_or(u8::MAX)).raw(text.as_bytes())
    }

    /// A text of at most 65,535 bytes, cut between characters if longer.
    pub fn long(self, text: &str) -> Writer {
        let text = cut(text, u16::MAX.into());
        self.u16(u16::try_from(text.len()).unwrap_or(u16::MAX)).raw(text.as_bytes())
    }
}

fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Reads fields one after the other. What follows the last that is asked for is passed over:
/// later versions append.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// So many bytes.
    ///
    /// # Errors
    /// There are not so many.
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], BadWire> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(BadWire::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadWire> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N)?);
        Ok(array)
    }

    /// One byte.
    ///
    /// # Errors
    /// There is none.
    pub fn u8(&mut self) -> Result<u8, BadWire> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes.
    ///
    /// # Errors
    /// There are not so many.
    pub fn u16(&mut self) -> Result<u16, BadWire> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// There are not so many.
    pub fn u32(&mut self) -> Result<u32, BadWire> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// There are not so many.
    pub fn u64(&mut self) -> Result<u64, BadWire> {
        self.array().map(u64::from_be_bytes)
    }

    /// Sixteen bytes.
    ///
    /// # Errors
    /// There are not so many.
    pub fn print(&mut self) -> Result<super::noise::Fingerprint, BadWire> {
        self.array().map(super::noise::Fingerprint)
    }

    /// Thirty-two bytes.
    ///
    /// # Errors
    /// There are not so many.
    pub fn hash(&mut self) -> Result<[u8; 32], BadWire> {
        self.array()
    }

    /// A text of at most 255 bytes.
    ///
    /// # Errors
    /// It is cut off, or no UTF-8.
    pub fn short(&mut self) -> Result<&'a str, BadWire> {
        let len = self.u8()?;
        std::str::from_utf8(self.raw(len.into())?).map_err(|_| BadWire::NotText)
    }

    /// A text of at most 65,535 bytes.
    ///
    /// # Errors
    /// It is cut off, or no UTF-8.
    pub fn long(&mut self) -> Result<&'a str, BadWire> {
        let len = self.u16()?;
        std::str::from_utf8(self.raw(len.into())?).map_err(|_| BadWire::NotText)
    }

    /// A handle.
    ///
    /// # Errors
    /// It is cut off, or not one.
    pub fn handle(&mut self) -> Result<crate::model::Handle, BadWire> {
        self.short()?.try_into().map_err(|_| BadWire::Value("handle"))
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}
