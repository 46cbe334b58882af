//! Whatever a client sends, however it is cut up.

use proptest::prelude::*;

use super::*;

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let number = any::<u64>();
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[{}\\[\\]\":,a-z0-9 ]{0,60}".prop_map(String::into_bytes),
        (number, "[a-z]{0,10}", "\\PC{0,20}").prop_map(|(id, op, path)| {
            json!({ "id": id, "op": op, "paths": [path, id] })
                .to_string()
                .into_bytes()
        }),
    ]
}

proptest! {
    #[test]
    fn any_line_is_a_request_or_an_error(line in any_line()) {
        if let Err((_, refusal)) = parse(&line) {
            prop_assert_eq!(refusal.kind, KIND_INVALID);
        }
    }

    #[test]
    fn a_request_reads_as_it_was_written(id in any::<u64>(), paths in prop::collection::vec("\\PC{0,20}", 0..4)) {
        let request = Request { id, paths, ..Request::new(Op::Approve) };
        let line = serde_json::to_vec(&request).unwrap();
        prop_assert_eq!(parse(&line), Ok(request));
    }

    #[test]
    fn lines_do_not_depend_on_how_they_arrive(
        lines in prop::collection::vec("[a-z]{1,30}", 0..20),
        sizes in prop::collection::vec(1..50_usize, 1..10),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(async {
            let (mut near, far) = tokio::io::duplex(16);
            let bytes: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"
"].concat()).collect();
            let send = async move {
                let mut rest = bytes.as_slice();
                for size in sizes.iter().cycle() {
                    let (part, left) = rest.split_at((*size).min(rest.len()));
                    near.write_all(part).await.unwrap();
                    rest = left;
                    if rest.is_empty() {
                        break;
                    }
                }
            };
            let receive = async {
                let mut reader = LineReader::new(far, 30);
                let mut read = Vec::new();
                while let Line::Text(line) = reader.next().await.unwrap() {
                    read.push(String::from_utf8(line).unwrap());
                }
                read
            };
            tokio::join!(send, receive).1
        });
        prop_assert_eq!(read, lines);
    }
}
