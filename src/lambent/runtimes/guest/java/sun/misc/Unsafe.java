package sun.misc;

import java.lang.reflect.Field;

/** The JDK's own, as our client uses it: to compile against, since `javac --release 8` hides it. It is not in our jar. */
public final class Unsafe {
    private static final Unsafe theUnsafe = null;

    private Unsafe() {}

    public native long objectFieldOffset(Field field);

    public native long staticFieldOffset(Field field);

    public native Object staticFieldBase(Field field);

    public native int arrayBaseOffset(Class<?> arrayType);

    public native Object getObject(Object owner, long offset);

    public native void putInt(Object owner, long offset, int value);

    public native byte getByte(long address);

    public native long getAddress(long address);

    public native void putAddress(long address, long value);

    public native long allocateMemory(long bytes);

    public native void copyMemory(Object source, long sourceOffset, Object target, long targetOffset, long bytes);
}
