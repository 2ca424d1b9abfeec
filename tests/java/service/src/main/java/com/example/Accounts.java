package com.example;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Supplier;

/** Answers by rule, so that each test knows the result beforehand. */
public class Accounts implements AccountService {
    private static final long DAY_MS = 86_400_000L;

    private final Supplier<Map<String, String>> attachments;

    /**
     * @param attachments returns those of the call under way; Dubbo's class for it differs by
     *     version.
     */
    public Accounts(Supplier<Map<String, String>> attachments) {
        this.attachments = attachments;
    }

    @Override
    public Account getByAccountId(long id) {
        List<Entry> entries = new ArrayList<>();
        for (int number = 1; number <= 2; number++) {
            Entry entry = new Entry();
            entry.setNumber(number);
            entry.setAmount(new BigDecimal("0.50").multiply(BigDecimal.valueOf(number)));
            entry.setLevel(number == 1 ? Level.BASIC : Level.GOLD);
            entries.add(entry);
        }
        Account account = new Account();
        account.setId(id);
        account.setName("客户 " + id);
        account.setEntries(entries);
        account.setBalance(new BigDecimal(id + ".10"));
        account.setOpened(new Date(1_600_000_000_000L + id));
        return account;
    }

    @Override
    public String echo(String text) {
        return text;
    }

    @Override
    public int add(int one, int other) {
        return one + other;
    }

    @Override
    public long addLongs(long one, long other) {
        return one + other;
    }

    @Override
    public double half(double number) {
        return number / 2;
    }

    @Override
    public boolean negate(boolean value) {
        return !value;
    }

    @Override
    public BigDecimal twice(BigDecimal amount) {
        return amount.add(amount);
    }

    @Override
    public String over(String text) {
        return "String " + text;
    }

    @Override
    public String over(Integer number) {
        return "Integer " + number;
    }

    @Override
    public String two(User user, String text) {
        return "User " + user.getName() + " " + text;
    }

    @Override
    public String two(Addr addr, String text) {
        return "Addr " + addr.getCity() + " " + text;
    }

    @Override
    public String nameOf(Account account) {
        return account.getName() + " " + account.getEntries().get(0).getLevel();
    }

    @Override
    public Map<String, Object> describe(Map<String, Object> given) {
        Map<String, Object> described = new TreeMap<>();
        given.forEach((key, value) -> described.put(key, value == null ? null : value.getClass().getName()));
        described.put("given", given);
        return described;
    }

    @Override
    public void nothing() {}

    @Override
    public Object nullValue() {
        return null;
    }

    @Override
    public String fail(String message) {
        throw new IllegalStateException(message);
    }

    @Override
    public String failOwn(String message) throws AccountException {
        throw new AccountException(message, 42);
    }

    @Override
    public String slow(int ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            return "interrupted";
        }
        return "slept " + ms;
    }

    @Override
    public String talk() {
        return "你好 \uD83D\uDE00 dubbo>\r\ndubbo>";
    }

    @Override
    public byte[] bytes(int count) {
        byte[] made = new byte[count];
        for (int index = 0; index < count; index++) {
            made[index] = (byte) index;
        }
        return made;
    }

    @Override
    public int lengthOf(byte[] bytes) {
        return bytes.length;
    }

    @Override
    public String big(int bytes) {
        char[] made = new char[bytes];
        java.util.Arrays.fill(made, 'x');
        return new String(made);
    }

    @Override
    public Level raise(Level level) {
        return level == Level.BASIC ? Level.GOLD : Level.BASIC;
    }

    @Override
    public Set<String> distinct(Set<String> texts) {
        return new LinkedHashSet<>(texts);
    }

    @Override
    public int[] reverse(int[] numbers) {
        int[] reversed = new int[numbers.length];
        for (int index = 0; index < numbers.length; index++) {
            reversed[numbers.length - 1 - index] = numbers[index];
        }
        return reversed;
    }

    @Override
    public Date nextDay(Date date) {
        return new Date(date.getTime() + DAY_MS);
    }

    @Override
    public List<Map<String, List<Account>>> nested(List<List<Integer>> ids) {
        List<Map<String, List<Account>>> all = new ArrayList<>();
        for (List<Integer> inner : ids) {
            List<Account> accounts = new ArrayList<>();
            for (Number id : inner) {
                accounts.add(getByAccountId(id.longValue()));
            }
            Map<String, List<Account>> named = new LinkedHashMap<>();
            named.put("of " + inner.size(), accounts);
            named.put("again", accounts);
            named.put("none", Collections.emptyList());
            all.add(named);
        }
        return all;
    }

    @Override
    public Map<String, String> attachments() {
        return new TreeMap<>(attachments.get());
    }
}
