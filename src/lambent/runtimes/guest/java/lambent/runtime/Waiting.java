package lambent.runtime;

import java.io.ByteArrayOutputStream;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A process that is started before its function is known waits here for the function's variables. They come as JSON over the
 * descriptor in _LAMBENT_WAIT_FD; by then code, layers, limits and the working directory are there.
 */
final class Waiting {
    private static final String VARIABLE = "_LAMBENT_WAIT_FD";
    private static final String CONNECTION_VARIABLE = "_LAMBENT_CONNECTION_FD";

    private Waiting() {}

    /** Returns a connection to the Runtime API where one was made ahead, or null. */
    @SuppressWarnings("unchecked")
    static FileDescriptor beCalled() throws IOException, ReflectiveOperationException {
        String descriptor = System.getenv(VARIABLE);
        String connection = System.getenv(CONNECTION_VARIABLE);
        if (descriptor == null) {
            return null;
        }
        ProcessVariables ours = rehearsed();
        String text = read(Integer.parseInt(descriptor));
        if (text.isEmpty()) {
            System.exit(0); // nobody needs this process
        }
        ours.replace((Map<String, String>) Json.parse(text));
        return connection == null ? null : new Internals().descriptor(Integer.parseInt(connection));
    }

    /** All that can be done before. Where this JDK does not let it, the function is given a start of its own instead. */
    private static ProcessVariables rehearsed() {
        try {
            ProcessVariables ours = new ProcessVariables(VARIABLE);
            ours.replace(new LinkedHashMap<String, String>(System.getenv()));
            Rehearsal.hold();
            return ours;
        } catch (Throwable impossible) {
            System.exit(1); // in silence: what is printed here would be in some function's log
            throw new AssertionError(impossible);
        }
    }

    private static String read(int descriptor) throws IOException, ReflectiveOperationException {
        try (InputStream given = new FileInputStream(new Internals().descriptor(descriptor))) {
            ByteArrayOutputStream text = new ByteArrayOutputStream(8192);
            byte[] part = new byte[8192];
            for (int count = given.read(part); count >= 0; count = given.read(part)) {
                text.write(part, 0, count);
            }
            return text.toString("UTF-8");
        }
    }
}
