package lambent.runtime;

import java.lang.reflect.Array;
import java.nio.ByteBuffer;
import java.util.Base64;
import java.util.Calendar;
import java.util.Date;
import java.util.Iterator;
import java.util.Map;
import java.util.Optional;

/** Objects as JSON text, beans by their getters. */
final class JsonWriter {
    private static final int DEPTH_MAX = 1000;

    private final StringBuilder out;
    private int depth;

    JsonWriter(StringBuilder out) {
        this.out = out;
    }

    void write(Object value) {
        if (++depth > DEPTH_MAX) {
            throw new IllegalStateException("Objects are nested deeper than " + DEPTH_MAX + " levels; do they refer to each other?");
        }
        if (value == null) {
            out.append("null");
        } else if (value instanceof CharSequence || value instanceof Character) {
            string(value.toString());
        } else if (value instanceof Number || value instanceof Boolean) {
            scalar(value);
        } else if (value instanceof Map) {
            object((Map<?, ?>) value);
        } else if (value instanceof Iterable && !(value instanceof java.nio.file.Path)) {
            array(((Iterable<?>) value).iterator());
        } else if (value instanceof Enum) {
            string(((Enum<?>) value).name());
        } else {
            other(value);
        }
        depth--;
    }

    private void other(Object value) {
        if (value.getClass().isArray()) {
            arrayOf(value);
        } else if (value instanceof Optional) {
            write(((Optional<?>) value).orElse(null));
        } else if (value instanceof Date) {
            out.append(((Date) value).getTime());
        } else if (value instanceof Calendar) {
            out.append(((Calendar) value).getTimeInMillis());
        } else if (value instanceof ByteBuffer) {
            ByteBuffer view = ((ByteBuffer) value).duplicate();
            byte[] bytes = new byte[view.remaining()];
            view.get(bytes);
            string(Base64.getEncoder().encodeToString(bytes));
        } else if (isText(value.getClass().getName())) {
            string(value instanceof Class ? ((Class<?>) value).getName() : value.toString());
        } else {
            bean(value);
        }
    }

    private static boolean isText(String className) {
        return className.startsWith("java.time.")
                || className.startsWith("java.nio.file.")
                || className.startsWith("sun.nio.fs.")
                || className.equals("java.util.UUID")
                || className.equals("java.util.Locale")
                || className.equals("java.util.Currency")
                || className.equals("java.net.URI")
                || className.equals("java.net.URL")
                || className.equals("java.io.File")
                || className.equals("java.lang.Class")
                || className.startsWith("org.joda.time.");
    }

    private void scalar(Object value) {
        boolean odd = value instanceof Double && !isFinite((Double) value) || value instanceof Float && !isFinite((Float) value);
        if (odd) {
            string(value.toString());
        } else {
            out.append(value);
        }
    }

    private static boolean isFinite(Number number) {
        double value = number.doubleValue();
        return !Double.isNaN(value) && !Double.isInfinite(value);
    }

    private void object(Map<?, ?> map) {
        out.append('{');
        String separator = "";
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            out.append(separator);
            string(String.valueOf(entry.getKey()));
            out.append(':');
            write(entry.getValue());
            separator = ",";
        }
        out.append('}');
    }

    private void array(Iterator<?> items) {
        out.append('[');
        String separator = "";
        while (items.hasNext()) {
            out.append(separator);
            write(items.next());
            separator = ",";
        }
        out.append(']');
    }

    private void arrayOf(Object array) {
        if (array instanceof byte[]) {
            string(Base64.getEncoder().encodeToString((byte[]) array));
            return;
        }
        if (array instanceof char[]) {
            string(new String((char[]) array));
            return;
        }
        out.append('[');
        for (int i = 0; i < Array.getLength(array); i++) {
            if (i > 0) {
                out.append(',');
            }
            write(Array.get(array, i));
        }
        out.append(']');
    }

    private void bean(Object bean) {
        out.append('{');
        String separator = "";
        for (Bean.Getter getter : Bean.of(bean.getClass()).getters()) {
            out.append(separator);
            string(getter.name);
            out.append(':');
            write(getter.get(bean));
            separator = ",";
        }
        out.append('}');
    }

    private void string(String text) {
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char next = text.charAt(i);
            switch (next) {
                case '"':
                    out.append("\\\"");
                    break;
                case '\\':
                    out.append("\\\\");
                    break;
                case '\n':
                    out.append("\\n");
                    break;
                case '\r':
                    out.append("\\r");
                    break;
                case '\t':
                    out.append("\\t");
                    break;
                default:
                    if (next < ' ' || loneSurrogate(text, i)) {
                        String hex = Integer.toHexString(next);
                        out.append("\\u").append("0000", 0, 4 - hex.length()).append(hex);
                    } else {
                        out.append(next);
                    }
            }
        }
        out.append('"');
    }

    private static boolean loneSurrogate(String text, int at) {
        char here = text.charAt(at);
        if (Character.isHighSurrogate(here)) {
            return at + 1 == text.length() || !Character.isLowSurrogate(text.charAt(at + 1));
        }
        return Character.isLowSurrogate(here) && (at == 0 || !Character.isHighSurrogate(text.charAt(at - 1)));
    }
}
