package lambent.runtime;

import com.amazonaws.services.lambda.runtime.LambdaLogger;
import com.amazonaws.services.lambda.runtime.LambdaRuntime;
import com.amazonaws.services.lambda.runtime.logging.LogLevel;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The function's log. Messages go as frames to the descriptor in _LAMBDA_TELEMETRY_LOG_FD: four bytes of type, four of
 * length, eight of microseconds since the epoch, big-endian, then the message; without a descriptor, to stdout.
 */
final class FunctionLogger implements LambdaLogger {
    private static final int JSON_FRAME = 0xa55a0002;
    private static final int TEXT_FRAME = 0xa55a0003;
    private static final int HEADER_BYTES = 16;

    private final OutputStream frames; // null: stdout
    private final boolean json;
    private final LogLevel threshold;
    private String requestId;
    private String tenantId;

    private FunctionLogger(OutputStream frames, boolean json, LogLevel threshold) {
        this.frames = frames;
        this.json = json;
        this.threshold = threshold;
    }

    static FunctionLogger fromEnvironment() {
        boolean json = "JSON".equalsIgnoreCase(System.getenv("AWS_LAMBDA_LOG_FORMAT"));
        LogLevel threshold = LogLevel.UNDEFINED;
        String level = System.getenv("AWS_LAMBDA_LOG_LEVEL");
        if (level != null) {
            try {
                threshold = LogLevel.fromString(level);
            } catch (IllegalArgumentException unknown) {
                // everything is logged then
            }
        }
        return new FunctionLogger(open(System.getenv("_LAMBDA_TELEMETRY_LOG_FD")), json, threshold);
    }

    static FunctionLogger of(OutputStream frames) {
        return new FunctionLogger(frames, false, LogLevel.UNDEFINED);
    }

    /** Makes this the logger that LambdaRuntime.getLogger() gives. */
    void install() throws ReflectiveOperationException {
        Field logger = LambdaRuntime.class.getDeclaredField("logger");
        logger.setAccessible(true);
        logger.set(null, this);
    }

    void setRequest(String requestId, String tenantId) {
        this.requestId = requestId;
        this.tenantId = tenantId;
    }

    /** An error that nothing in the function caught. */
    void fault(String message) {
        log(message, json ? LogLevel.ERROR : LogLevel.UNDEFINED);
    }

    @Override
    public void log(String message) {
        log(message, LogLevel.UNDEFINED);
    }

    @Override
    public void log(byte[] message) {
        log(message, LogLevel.UNDEFINED);
    }

    @Override
    public void log(String message, LogLevel level) {
        if (!isEnabled(level)) {
            return;
        }
        if (json) {
            write(jsonLine(message, level), level);
        } else {
            String line = level == LogLevel.UNDEFINED ? message : "[" + level + "] " + message;
            write(String.valueOf(line).getBytes(StandardCharsets.UTF_8), level);
        }
    }

    @Override
    public void log(byte[] message, LogLevel level) {
        if (isEnabled(level)) {
            write(message, level);
        }
    }

    private boolean isEnabled(LogLevel level) {
        return level == LogLevel.UNDEFINED || level.ordinal() >= threshold.ordinal();
    }

    private byte[] jsonLine(String message, LogLevel level) {
        Map<String, Object> line = new LinkedHashMap<String, Object>();
        String time = Instant.ofEpochMilli(System.currentTimeMillis()).toString();
        line.put("timestamp", time.length() == 20 ? time.substring(0, 19) + ".000Z" : time);
        line.put("message", message);
        line.put("level", level.name());
        if (requestId != null) {
            line.put("AWSRequestId", requestId);
        }
        if (tenantId != null) {
            line.put("tenantId", tenantId);
        }
        return (new String(Json.write(line), StandardCharsets.UTF_8) + "\n").getBytes(StandardCharsets.UTF_8);
    }

    private synchronized void write(byte[] message, LogLevel level) {
        if (frames == null) {
            System.out.write(message, 0, message.length);
            System.out.flush();
            return;
        }
        Instant now = Instant.now();
        ByteBuffer frame = ByteBuffer.allocate(HEADER_BYTES + message.length);
        frame.putInt((json ? JSON_FRAME : TEXT_FRAME) | level.ordinal() << 2);
        frame.putInt(message.length);
        frame.putLong(now.getEpochSecond() * 1000000 + now.getNano() / 1000);
        frame.put(message);
        try {
            frames.write(frame.array());
        } catch (IOException e) {
            System.err.println("The log cannot be written: " + e.getMessage());
        }
    }

    private static OutputStream open(String descriptor) {
        if (descriptor == null) {
            return null;
        }
        try {
            return new FileOutputStream(new Internals().descriptor(Integer.parseInt(descriptor)));
        } catch (ReflectiveOperationException | RuntimeException e) {
            return null;
        }
    }
}
