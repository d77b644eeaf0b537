package lambent.runtime;

import java.io.FileDescriptor;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import sun.misc.Unsafe;

/**
 * What the JDK keeps closed and a runtime must reach, by the Unsafe that it leaves open. Opening packages on the command line
 * instead would cost 20 ms at start, since it switches off the shared module graph, and functions would find them open.
 */
final class Internals {
    private final Unsafe unsafe;

    Internals() throws ReflectiveOperationException {
        Field instance = Unsafe.class.getDeclaredField("theUnsafe");
        instance.setAccessible(true);
        unsafe = (Unsafe) instance.get(null);
    }

    /** For a descriptor that this process was given. */
    FileDescriptor descriptor(int number) throws ReflectiveOperationException {
        FileDescriptor known = new FileDescriptor();
        unsafe.putInt(known, unsafe.objectFieldOffset(FileDescriptor.class.getDeclaredField("fd")), number);
        return known;
    }

    /** A field's value; `owner` is null for a static one. */
    Object get(Object owner, Field field) {
        if (Modifier.isStatic(field.getModifiers())) {
            return unsafe.getObject(unsafe.staticFieldBase(field), unsafe.staticFieldOffset(field));
        }
        return unsafe.getObject(owner, unsafe.objectFieldOffset(field));
    }

    long pointerAt(long address) {
        return unsafe.getAddress(address);
    }

    void setPointer(long address, long value) {
        unsafe.putAddress(address, value);
    }

    boolean startsWith(long address, String ascii) {
        for (int i = 0; i < ascii.length(); i++) {
            if (unsafe.getByte(address + i) != ascii.charAt(i)) {
                return false;
            }
        }
        return true;
    }

    /** The address of a copy outside of the heap, which nobody frees. */
    long copyOf(byte[] content) {
        return copy(content, content.length);
    }

    long copyOf(long[] content) {
        return copy(content, 8L * content.length);
    }

    private long copy(Object array, long bytes) {
        long address = unsafe.allocateMemory(bytes);
        unsafe.copyMemory(array, unsafe.arrayBaseOffset(array.getClass()), null, address, bytes);
        return address;
    }
}
