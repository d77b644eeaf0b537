package lambent.runtime;

/** A function's handler, whatever its signature: JSON in, JSON out. */
interface Handler {
    byte[] handle(byte[] event, InvocationContext context) throws Throwable;
}
