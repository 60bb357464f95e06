//! Files and images: their paths, their steps, their numbers.

use super::*;

#[test]
fn files_are_found_from_home_and_here() {
    let base = Some("/here".into());
    let options = SessionOptions { home: Some("/home/a".into()), base, ..Default::default() };
    let mut session = Session::new(options);
    session.feed(b"img bob ~/my cat.png\rimg bob \"x y.png\"\r");
    let path = |session: &mut Session| match session.next_ask() {
        Some((_, _, Command::SendFile { path, .. })) => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(path(&mut session), "/home/a/my cat.png");
    assert_eq!(path(&mut session), "/here/x y.png");
}

#[test]
fn a_transfer_is_told_in_steps() {
    let mut b = Bench::new();
    let transfer = |done, state| What::Transfer {
        number: None,
        id: id(5),
        direction: Direction::In,
        peer: PeerId(1),
        handle: "bob".into(),
        name: "cat.png".into(),
        done,
        size: Some(1_000_000),
        state,
        reason: None,
    };
    for done in (0..=100).map(|n| n * 10_000) {
        b.event(Some("anna"), transfer(done, TransferState::Running));
    }
    b.event(Some("anna"), transfer(1_000_000, TransferState::Done));
    b.event(
        Some("anna"),
        What::Image {
            id: id(5),
            conversation: "c".into(),
            from: "bob".into(),
            to: "anna".into(),
            peer: PeerId(1),
            dialect: Dialect::Slcp,
            direction: Direction::In,
            path: "/i/1.png".into(),
            size: 1_000_000,
            format: "png".into(),
            width: Some(800),
            height: Some(600),
        },
    );
    let rows = b.rows();
    let steps = rows.iter().filter(|r| r.starts_with("← bob: cat.png")).count();
    assert_eq!(steps, 4, "{rows:#?}");
    let image = "[12:34] bob: image /i/1.png (png, 800x600 pixels, 1.0 MB): SAVE 1";
    assert_eq!(rows[rows.len() - 2], image);
    b.types("save 1\rsave 2\rsave\r");
    let rows = b.rows();
    for said in ["/i/1.png", "there is no image 2: SAVE lists them", "1  /i/1.png"] {
        assert!(rows.iter().any(|r| r == said), "{said}: {rows:#?}");
    }
}

#[test]
fn one_image_past_the_limit_is_forgotten() {
    let mut standing = Standing::default();
    for n in 0..=MAX_IMAGES {
        standing.image(&n.to_string());
    }
    assert_eq!(standing.path_of(1), None);
    assert_eq!(standing.path_of(2).as_deref(), Some("1"));
}
