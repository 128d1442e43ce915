use tokio::net::TcpStream;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// A listener on a free port, and where it is.
fn start(files: Vec<PathBuf>) -> (String, Arc<Served>, tokio::task::JoinHandle<()>) {
    let served = Arc::new(Served {
        files,
        quit: Notify::new(),
        started: SystemTime::now(),
    });
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let listener = Listener {
        socket: Socket::Tcp(address.clone()),
        tls: None,
        metrics_only: false,
        require_request_header: false,
        enable_quit: true,
    };
    let task = tokio::spawn(one(listener, Arc::clone(&served)));
    (address, served, task)
}

async fn connect(address: &str) -> TcpStream {
    let end = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < end, "nobody listens: {error}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn ask(address: &str, request: &str) -> String {
    let mut stream = connect(address).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    answer
}

#[tokio::test]
async fn readiness_follows_the_files_and_health_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.conf");
    let (address, _served, task) = start(vec![file.clone()]);
    let answer = ask(&address, "GET /readyz HTTP/1.1\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("app.conf"),
        "{answer}"
    );
    let answer = ask(&address, "GET /healthz HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    fs::write(&file, "x").unwrap();
    let answer = ask(&address, "GET /readyz HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = ask(&address, "GET /metrics HTTP/1.1\r\n\r\n").await;
    assert!(answer.contains("\nvaultkeeper_agent_logged_in "), "{answer}");
    assert!(answer.contains("\nprocess_resident_memory_bytes "), "{answer}");
    task.abort();
}

#[tokio::test]
async fn quit_is_told_after_its_answer() {
    let (address, served, task) = start(Vec::new());
    let answer = ask(
        &address,
        "POST /agent/v1/quit HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    timeout(PATIENCE, served.quit.notified())
        .await
        .expect("the agent must be told");
    task.abort();
}

#[tokio::test]
async fn slow_and_silent_peers_keep_nobody_out() {
    let (address, _served, task) = start(Vec::new());
    let mut silent = Vec::new();
    for _ in 0..MOST_CONNECTIONS {
        let mut stream = connect(&address).await;
        stream.write_all(b"GET /hea").await.unwrap();
        silent.push(stream);
    }
    let answer = timeout(PATIENCE, ask(&address, "GET /healthz HTTP/1.1\r\n\r\n")).await;
    assert!(
        answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")),
        "it must come to its turn"
    );
    task.abort();
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let (address, _served, task) = start(Vec::new());
    let answer = ask(&address, &format!("GET /{}", "a".repeat(MOST_BYTES - 5))).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    task.abort();
}

#[tokio::test]
async fn a_socket_of_an_earlier_run_is_replaced_and_another_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    drop(bind_file(&path, Some(0o660), None, None).unwrap());
    let _listener = bind_file(&path, Some(0o660), None, None).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    bind_file(&file, None, None, None).expect_err("a file is in the way");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let own = rustix::process::getuid().as_raw().to_string();
    bind_file(&path, None, Some(&own), None).unwrap();
    bind_file(&path, None, Some("nobody-has-this-name"), None).expect_err("there is no such user");
}
