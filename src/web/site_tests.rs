//! What the site keeps, and a site to test the rest with.

use super::*;

/// A site without a node.
pub fn bare(hub: Rc<Hub>, settings: Settings, folder: Option<PathBuf>) -> Rc<Site> {
    let (restart, host) = (async_channel::bounded(1).0, "box".to_owned());
    Site::new(Ground { hub, folder, port: 1, settings, host, restart })
}

#[test]
fn what_the_disk_refused_of_the_guests_is_kept_once_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("pulled card");
    let site = bare(Hub::new(1).0, Settings::default(), Some(folder.clone()));
    site.touch();
    site.save();
    assert!(site.is_dirty() && site.is_refused());
    std::fs::create_dir(&folder).unwrap();
    site.save();
    assert!(!site.is_dirty() && !site.is_refused());
    assert!(folder.join("guests.json").exists() && folder.join("uploads.json").exists());
}
