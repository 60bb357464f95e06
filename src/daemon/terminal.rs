//! This terminal: a console on it.
use crate::hub::Way;
use std::process::ExitCode;
/// stub
pub(super) enum Eof {
    Ends,
    Stays,
}
pub(super) fn is_one() -> bool {
    false
}
pub(super) async fn chat<W: Way>(
    _way: &W,
    _acting: Option<String>,
    _ask: Option<()>,
    _eof: Eof,
) -> Result<ExitCode, String> {
    smol::future::pending().await
}
