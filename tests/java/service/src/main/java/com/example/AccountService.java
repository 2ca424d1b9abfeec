package com.example;

import java.math.BigDecimal;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What all providers serve: a method for each shape of argument and result. */
public interface AccountService {
    Account getByAccountId(long id);

    String echo(String text);

    int add(int one, int other);

    long addLongs(long one, long other);

    double half(double number);

    boolean negate(boolean value);

    BigDecimal twice(BigDecimal amount);

    String over(String text);

    String over(Integer number);

    String two(User user, String text);

    String two(Addr addr, String text);

    String nameOf(Account account);

    Map<String, Object> describe(Map<String, Object> given);

    void nothing();

    Object nullValue();

    String fail(String message);

    String failOwn(String message) throws AccountException;

    String slow(int ms);

    String talk();

    byte[] bytes(int count);

    int lengthOf(byte[] bytes);

    String big(int bytes);

    Level raise(Level level);

    Set<String> distinct(Set<String> texts);

    int[] reverse(int[] numbers);

    Date nextDay(Date date);

    List<Map<String, List<Account>>> nested(List<List<Integer>> ids);

    Map<String, String> attachments();
}
