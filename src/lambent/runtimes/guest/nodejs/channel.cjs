'use strict';
// One keep-alive connection to the Runtime API, spoken on a bare socket: the http module costs 6 ms at start.

const net = require('net');

const API = '/2018-06-01/runtime';
const HEADERS_END = Buffer.from('\r\n\r\n');
const CRLF = Buffer.from('\r\n');
const SMALL_BODY_BYTES = 64 * 1024; // up to here a result and the request for the next event are one string

const ignore = () => {};

class Channel {
  #host;
  #port;
  #nextRequest;
  #socket = null;
  #waiting = []; // {bytes, resolve, reject} of the requests on the wire, in their order
  #received = []; // buffers not yet taken
  #size = 0; // their bytes
  #needed = 0; // bytes without which looking again is pointless
  #head = null; // of the answer whose body is arriving
  #answers = 0; // that came over this connection

  constructor(address) {
    const colon = address.lastIndexOf(':');
    this.#host = address.slice(0, colon);
    this.#port = Number(address.slice(colon + 1));
    this.#nextRequest = `GET ${API}/invocation/next HTTP/1.1\r\nHost: ${this.#host}\r\n\r\n`;
  }

  connect() {
    const socket = net.connect({ host: this.#host, port: this.#port, noDelay: true });
    socket.on('data', (data) => this.#take(data));
    socket.on('error', (error) => this.#lost(socket, error));
    socket.on('close', () => this.#lost(socket, new Error('The Runtime API closed the connection')));
    this.#socket = socket;
    return socket;
  }

  // The event loop counts as empty while a function runs, although this connection is open.
  rest() {
    this.#socket?.unref();
  }

  // Asks for the next event: resolves to {headers, body}.
  next() {
    return this.#request(this.#nextRequest);
  }

  // Sends a result and asks for the next event without waiting in between; in one write where they are small.
  respondAndNext(requestId, json) {
    const length = Buffer.byteLength(json);
    const post =
      `POST ${API}/invocation/${encodeURIComponent(requestId)}/response HTTP/1.1\r\nHost: ${this.#host}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${json}`;
    const socket = this.#ready();
    if (length <= SMALL_BODY_BYTES) {
      socket.write(post + this.#nextRequest);
    } else {
      socket.write(post); // joined to the other it would be copied once more
      socket.write(this.#nextRequest);
    }
    // Nobody looks at the answer to the result: whatever is wrong with it, the next event fails, too.
    this.#waiting.push({ bytes: post, resolve: ignore, reject: ignore });
    return this.#expect(this.#nextRequest);
  }

  // Posts an error document to `path` (below the API's root), with the header that names its type.
  postError(path, document, cause = '') {
    const json = JSON.stringify(document);
    const xray = cause ? `Lambda-Runtime-Function-XRay-Error-Cause: ${headerSafe(cause)}\r\n` : '';
    return this.#request(
      `POST ${API}${path} HTTP/1.1\r\nHost: ${this.#host}\r\nContent-Type: application/json\r\n` +
        `Lambda-Runtime-Function-Error-Type: ${headerSafe(document.errorType)}\r\n${xray}` +
        `Content-Length: ${Buffer.byteLength(json)}\r\n\r\n${json}`,
    );
  }

  // Begins a request whose body follows in chunks. Returns {write(data, done), end(trailers): promise}.
  postChunked(path, headers) {
    const socket = this.#ready();
    socket.write(`POST ${API}${path} HTTP/1.1\r\nHost: ${this.#host}\r\n${headers}Transfer-Encoding: chunked\r\n\r\n`);
    const answered = this.#expect(null);
    answered.catch(() => {}); // whoever ends the body looks at it
    return {
      answered,
      write(data, done) {
        socket.cork();
        socket.write(`${data.length.toString(16)}\r\n`);
        socket.write(data);
        socket.write(CRLF, done);
        socket.uncork();
      },
      end(trailers = '') {
        socket.write(`0\r\n${trailers}\r\n`);
        return answered;
      },
    };
  }

  #request(bytes) {
    this.#ready().write(bytes);
    return this.#expect(bytes);
  }

  #ready() {
    const socket = this.#socket?.writable ? this.#socket : this.connect();
    socket.ref();
    return socket;
  }

  // `bytes` is null for a request that cannot be sent again.
  #expect(bytes) {
    return new Promise((resolve, reject) => this.#waiting.push({ bytes, resolve, reject }));
  }

  #lost(socket, error) {
    if (socket !== this.#socket) return;
    const untouched = this.#size === 0 && this.#answers > 0;
    this.#socket = null;
    this.#received = [];
    this.#size = this.#needed = this.#answers = 0;
    this.#head = null;
    // A connection that served before may have been closed as idle, while a long handler kept us from noticing.
    if (untouched && this.#waiting.length > 0 && this.#waiting.every(({ bytes }) => bytes !== null)) {
      this.#ready().write(this.#waiting.map(({ bytes }) => bytes).join(''));
      return;
    }
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #take(data) {
    this.#received.push(data);
    this.#size += data.length;
    while (this.#size > 0 && this.#size >= this.#needed) {
      const all = this.#received.length === 1 ? this.#received[0] : Buffer.concat(this.#received);
      const used = this.#parse(all);
      const rest = all.subarray(used);
      this.#received = rest.length ? [rest] : [];
      this.#size = rest.length;
      if (used === 0) {
        this.#needed = Math.max(this.#needed, this.#size + 1);
        return;
      }
    }
  }

  // Takes one answer from the front of `bytes`; returns how many it used, 0 when it is not whole yet.
  #parse(bytes) {
    const end = bytes.indexOf(HEADERS_END);
    if (end < 0) return 0;
    this.#head ??= parseHead(bytes.toString('latin1', 0, end));
    const start = end + HEADERS_END.length;
    let body;
    let used;
    if (this.#head.chunked) {
      [body, used] = parseChunks(bytes, start);
      if (used === 0) return 0;
    } else {
      used = start + this.#head.length;
      if (bytes.length < used) {
        this.#needed = used;
        return 0;
      }
      body = bytes.subarray(start, used);
    }
    const { status, headers } = this.#head;
    this.#head = null;
    this.#needed = 0;
    this.#answers += 1;
    this.#waiting.shift()?.resolve({ status, headers, body });
    return used;
  }
}

// A header's value may not hold line breaks; bytes beyond ASCII go as they are.
function headerSafe(text) {
  return String(text).replace(/[\x00-\x1f\x7f]/g, ' ');
}

function parseHead(text) {
  const [first, ...lines] = text.split('\r\n');
  const headers = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return {
    status: Number(first.split(' ', 2)[1]),
    headers,
    length: Number(headers['content-length'] ?? 0),
    chunked: headers['transfer-encoding']?.toLowerCase() === 'chunked',
  };
}

function parseChunks(bytes, start) {
  const parts = [];
  for (let at = start; ; ) {
    const line = bytes.indexOf(CRLF, at);
    if (line < 0) return [null, 0];
    const size = Number.parseInt(bytes.toString('latin1', at, line), 16);
    if (size === 0) {
      const end = bytes.indexOf(HEADERS_END, line);
      return end < 0 ? [null, 0] : [Buffer.concat(parts), end + HEADERS_END.length];
    }
    at = line + CRLF.length + size + CRLF.length;
    if (bytes.length < at) return [null, 0];
    parts.push(bytes.subarray(line + CRLF.length, at - CRLF.length));
  }
}

module.exports = { Channel };
