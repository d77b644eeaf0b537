package lambent.runtime;

import java.io.ByteArrayOutputStream;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * The variables of this process, to be replaced as a whole: those that System.getenv() shows, and those of the C library, which
 * native code reads and children inherit. For Java 17 and later.
 */
final class ProcessVariables {
    private static final int POINTER_BYTES = 8;

    private final Internals internals = new Internals();
    private final Map<String, String> ofJava;
    private final long environ; // where the C library has the address of its list

    /** Throws when this JDK does not have them where they were; `known` is one that is set. */
    @SuppressWarnings("unchecked")
    ProcessVariables(String known) throws Throwable {
        Class<?> wrapper = Class.forName("java.util.Collections$UnmodifiableMap");
        ofJava = (Map<String, String>) internals.get(System.getenv(), wrapper.getDeclaredField("m"));
        environ = symbol("environ");
        if (!ofJava.containsKey(known) || !hasInC(known)) {
            throw new IllegalStateException("the variables of this process were not found");
        }
    }

    void replace(Map<String, String> variables) {
        ByteArrayOutputStream text = new ByteArrayOutputStream(8192);
        long[] list = new long[variables.size() + 1];
        int count = 0;
        for (Map.Entry<String, String> variable : variables.entrySet()) {
            list[count++] = text.size();
            byte[] entry = (variable.getKey() + "=" + variable.getValue() + "\0").getBytes(StandardCharsets.UTF_8);
            text.write(entry, 0, entry.length);
        }
        long begin = internals.copyOf(text.toByteArray());
        for (int i = 0; i < count; i++) {
            list[i] += begin;
        }
        internals.setPointer(environ, internals.copyOf(list));
        ofJava.clear();
        ofJava.putAll(variables);
    }

    /** The address of what a library that the JDK has loaded, or one that those need, calls so. */
    private long symbol(String name) throws Throwable {
        MethodHandles.Lookup all = (MethodHandles.Lookup)
                internals.get(null, MethodHandles.Lookup.class.getDeclaredField("IMPL_LOOKUP"));
        Class<?> type = Class.forName("jdk.internal.loader.NativeLibraries");
        Class<?> loader = Class.forName("jdk.internal.loader.BootLoader");
        MethodHandle libraries = all.findStatic(loader, "getNativeLibraries", MethodType.methodType(type));
        MethodHandle find = all.findVirtual(type, "find", MethodType.methodType(long.class, String.class));
        return (long) find.invoke(libraries.invoke(), name);
    }

    private boolean hasInC(String name) {
        long list = environ == 0 ? 0 : internals.pointerAt(environ);
        for (long entry = list == 0 ? 0 : internals.pointerAt(list); entry != 0; entry = internals.pointerAt(list)) {
            if (internals.startsWith(entry, name + "=")) {
                return true;
            }
            list += POINTER_BYTES;
        }
        return false;
    }
}
