package lambent.runtime;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/** One keep-alive connection to the Runtime API, on a bare socket: java.net.http costs 100 ms at start. */
class RuntimeApi {
    private static final String ROOT = "/2018-06-01/runtime";
    private static final int BUFFER_BYTES = 65536;

    private final String host;
    private final int port;
    private Closeable connection;
    private InputStream in;
    private OutputStream out;

    RuntimeApi(String address) {
        int colon = address.lastIndexOf(':');
        host = address.substring(0, colon);
        port = Integer.parseInt(address.substring(colon + 1));
    }

    /** An answer of the Runtime API. */
    static final class Answer {
        final int status;
        final byte[] body;
        private final Map<String, String> headers;

        Answer(int status, Map<String, String> headers, byte[] body) {
            this.status = status;
            this.headers = headers;
            this.body = body;
        }

        /** By its name in lower case; null if it is absent. */
        String header(String name) {
            return headers.get(name);
        }
    }

    /** Waits for the next event. */
    Answer next() throws IOException {
        return event(exchange(nextRequest().getBytes(StandardCharsets.ISO_8859_1)));
    }

    /** Sends a result and asks for the next event at once. */
    Answer respondAndNext(String path, byte[] result) throws IOException {
        byte[] next = nextRequest().getBytes(StandardCharsets.ISO_8859_1);
        exchange(post(path, "", result.length), result, next); // a refused result is the Runtime API's to report
        return event(hasAnswer() ? read() : again(next));
    }

    void postError(String path, String type, byte[] document) throws IOException {
        String header = "Lambda-Runtime-Function-Error-Type: " + type + "\r\n";
        exchange(post(path, header, document.length), document);
    }

    private static Answer event(Answer answer) throws IOException {
        if (answer.status != 200) {
            throw new IOException("it answered " + answer.status + " instead of an event");
        }
        return answer;
    }

    private String nextRequest() {
        return "GET " + ROOT + "/invocation/next HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
    }

    private byte[] post(String path, String header, int length) {
        String head = "POST " + ROOT + path + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/json\r\n"
                + header + "Content-Length: " + length + "\r\n\r\n";
        return head.getBytes(StandardCharsets.ISO_8859_1);
    }

    /**
     * Sends and takes the first answer. A connection that served before may have been closed as idle, while a long handler
     * kept us from noticing: then it is opened again, once.
     */
    private Answer exchange(byte[]... parts) throws IOException {
        byte[] all = join(parts);
        boolean fresh = connection == null;
        if (fresh) {
            connect();
        }
        try {
            out.write(all);
        } catch (IOException closed) {
            if (fresh) {
                throw closed;
            }
            return again(all);
        }
        return fresh || hasAnswer() ? read() : again(all);
    }

    /** Waits; false when the connection was closed before a byte of an answer came. */
    private boolean hasAnswer() {
        try {
            in.mark(1);
            if (in.read() < 0) {
                return false;
            }
            in.reset();
            return true;
        } catch (IOException closed) {
            return false;
        }
    }

    private Answer again(byte[] request) throws IOException {
        connection.close();
        connect();
        out.write(request);
        return read();
    }

    void connect() throws IOException {
        Socket socket = new Socket();
        socket.setTcpNoDelay(true);
        socket.connect(new InetSocketAddress(host, port));
        speakOver(socket, socket.getInputStream(), socket.getOutputStream());
    }

    /** Speaks over a connection that is there already. Without java.net: functions set properties that it reads once. */
    void use(FileDescriptor open) {
        FileInputStream answers = new FileInputStream(open);
        speakOver(answers, answers, new FileOutputStream(open));
    }

    void speakOver(Closeable connection, InputStream in, OutputStream out) {
        this.connection = connection;
        this.in = new BufferedInputStream(in, BUFFER_BYTES);
        this.out = out;
    }

    private static byte[] join(byte[]... parts) {
        int length = 0;
        for (byte[] part : parts) {
            length += part.length;
        }
        byte[] all = new byte[length];
        int at = 0;
        for (byte[] part : parts) {
            System.arraycopy(part, 0, all, at, part.length);
            at += part.length;
        }
        return all;
    }

    private Answer read() throws IOException {
        String first = line();
        int status = Integer.parseInt(first.substring(9, 12));
        Map<String, String> headers = new HashMap<String, String>();
        for (String line = line(); !line.isEmpty(); line = line()) {
            int colon = line.indexOf(':');
            headers.put(line.substring(0, colon).toLowerCase(java.util.Locale.ROOT), line.substring(colon + 1).trim());
        }
        if ("chunked".equalsIgnoreCase(headers.get("transfer-encoding"))) {
            return new Answer(status, headers, chunks());
        }
        String length = headers.get("content-length");
        return new Answer(status, headers, bytes(length == null ? 0 : Integer.parseInt(length)));
    }

    private byte[] chunks() throws IOException {
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        while (true) {
            int size = Integer.parseInt(line().trim(), 16);
            if (size == 0) {
                while (!line().isEmpty()) {
                    // trailers say nothing to a runtime
                }
                return body.toByteArray();
            }
            body.write(bytes(size), 0, size);
            line();
        }
    }

    private byte[] bytes(int count) throws IOException {
        byte[] bytes = new byte[count];
        for (int at = 0; at < count; ) {
            int got = in.read(bytes, at, count - at);
            if (got < 0) {
                throw new EOFException("it closed the connection");
            }
            at += got;
        }
        return bytes;
    }

    private String line() throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream(80);
        for (int next = in.read(); next != '\n'; next = in.read()) {
            if (next < 0) {
                throw new EOFException("it closed the connection");
            }
            if (next != '\r') {
                line.write(next);
            }
        }
        return line.toString("UTF-8");
    }
}
