// The live part of the home page: the event stream, and the chat of one worker.

const MAX_LINES = 100;
const RECONNECT_WITHIN_MS = 1000;

const events = document.getElementById("events");
const chat = document.getElementById("chat");
const say = document.getElementById("say");

const worker = ({ pid, fork_id }) => `pid ${pid}, fork_id ${fork_id ?? "none"}`;

const stream = new EventSource("/events?interval_ms=1000");
stream.addEventListener("tick", ({ data }) => {
  const tick = JSON.parse(data);
  events.textContent = `tick ${tick.number} from ${worker(tick)}`;
});
// The browser connects again by itself, perhaps to another worker.
stream.addEventListener("error", () => {
  events.textContent = "connecting again";
});

function addLine(text) {
  const line = document.createElement("li");
  line.textContent = text;
  chat.append(line);
  if (chat.childElementCount > MAX_LINES) {
    chat.firstElementChild.remove();
  }
  chat.scrollTop = chat.scrollHeight;
}

const chatUrl = new URL("/chat", location.href);
chatUrl.protocol = location.protocol === "https:" ? "wss:" : "ws:";
let socket;

function connect() {
  socket = new WebSocket(chatUrl);
  socket.addEventListener("message", ({ data }) => {
    const { kind, text, clients, ...who } = JSON.parse(data);
    const what = kind === "said" ? text : `somebody ${kind}, ${clients} here`;
    addLine(`[${worker(who)}] ${what}`);
  });
  // A worker that leaves says 1001 (going away). Not all clients should come back in one moment.
  socket.addEventListener("close", ({ code }) => {
    addLine(`the chat has ended (${code}); connecting again`);
    setTimeout(connect, Math.random() * RECONNECT_WITHIN_MS);
  });
}

connect();

say.addEventListener("submit", (submit) => {
  submit.preventDefault();
  if (socket.readyState === WebSocket.OPEN) {
    socket.send(say.elements.text.value);
    say.reset();
  }
});
